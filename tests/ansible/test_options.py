"""The role's options are typed, have the defaults they are said to have, and are all of use."""

from __future__ import annotations

import re

from tests.ansible.options import README, ROLE, defaults, specified, written

_TYPES: dict[str, type] = {
    "str": str,
    "path": str,
    "int": int,
    "float": float,
    "bool": bool,
    "list": list,
    "dict": dict,
}


def _sources() -> str:
    folders = ("handlers", "tasks", "templates", "vars")
    return "\n".join(path.read_text() for folder in folders for path in sorted((ROLE / folder).iterdir()))


def test_the_defaults_are_those_of_the_specification() -> None:
    assert defaults() == {name: option["default"] for name, option in specified().items() if not option.get("required")}


def test_every_default_has_its_options_type() -> None:
    # An expression is a string until it is evaluated; those that stand for one are no others.
    assert [name for name, value in defaults().items() if type(value) is not _TYPES[specified()[name]["type"]]] == []


def test_every_option_says_what_it_is_for() -> None:
    assert [name for name, option in specified().items() if not option["description"].endswith(".")] == []


def test_every_option_belongs_to_the_role_by_its_name() -> None:
    assert [name for name in specified() if not name.startswith("pganalytics_agent_")] == []


def test_removing_takes_the_same_options() -> None:
    assert specified("remove").items() <= specified().items()


def test_no_option_is_without_use_and_no_other_variable_is_used() -> None:
    assert set(re.findall(r"(?<![\w-])pganalytics_agent_\w+", _sources())) == set(specified())


def test_the_tokens_are_marked_as_secret() -> None:
    secret = {name for name, option in specified().items() if option.get("no_log")}
    assert secret == {"pganalytics_agent_enrolment_token", "pganalytics_agent_token"}


def test_the_readme_has_every_option() -> None:
    assert README.read_text() == written(README.read_text())
