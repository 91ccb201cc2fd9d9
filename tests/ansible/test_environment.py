"""What the role `environment` refuses before anything is changed, asked on this machine itself."""

from __future__ import annotations

import json
import sys
from typing import Any

import pytest
import yaml

from tests.ansible.controller import play
from tests.ansible.options import COLLECTION

_GOOD: dict[str, Any] = {
    "ansible_python_interpreter": sys.executable,
    "pganalytics_environment_of": "agent",
    "pganalytics_environment_directory": "/nowhere",
    "pganalytics_environment_python": sys.executable,
    "pganalytics_environment_extras": "agent",
    "pganalytics_environment_wheels": "",
    "pganalytics_environment_version": "1",
    "pganalytics_environment_index_url": "",
}

#: What is wrong, and the mend that its error names; `{}` stands for a folder without wheels.
_REFUSED: dict[str, tuple[dict[str, str], str]] = {
    "no Python": ({"python": "/nowhere/python3"}, "or name another with pganalytics_agent_python"),
    "no such Python": ({"python": "/bin/false"}, "ensurepip: non-zero return code. Install one"),
    "nothing to install": (
        {"version": ""},
        "Name the version to install from the index with pganalytics_agent_version",
    ),
    "no wheels": ({"wheels": "{}"}, "name the folder that has it with pganalytics_agent_wheels"),
    "credentials of the index": ({"index_url": "https://u:p@index.example.org"}, "put them into /etc/pip.conf"),
    "of the server": ({"of": "server", "version": ""}, "with pganalytics_server_version"),
}

_TAKEN: dict[str, dict[str, str]] = {
    "of an index": {},
    "of another index": {"index_url": "https://index.example.org"},
    "another version": {"version": "2"},
}


@pytest.fixture(scope="module")
def said(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What is said of each case; each is a host, so that all are asked at once."""
    folder = tmp_path_factory.mktemp("environment")
    cases = {name: options for name, (options, _) in _REFUSED.items()} | _TAKEN
    hosts = {
        name: _GOOD | {f"pganalytics_environment_{key}": value.format(folder) for key, value in options.items()}
        for name, options in cases.items()
    }
    include = {"name": str(COLLECTION / "roles/environment"), "tasks_from": "preflight"}
    tell = {"msg": "{{ _pganalytics_environment }}"}
    tasks = [{"ansible.builtin.include_role": include}, {"ansible.builtin.fail": tell}]
    inventory, playbook = folder / "inventory.json", folder / "preflight.yml"
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    playbook.write_text(
        yaml.safe_dump([{"hosts": "all", "connection": "local", "gather_facts": False, "tasks": tasks}])
    )
    return play(playbook, "--inventory", inventory, "--forks", "10", home=folder / "home").said()


@pytest.mark.parametrize("case", _REFUSED)
def test_what_cannot_be_installed_is_refused_with_its_mend(said: dict[str, str], case: str) -> None:
    assert _REFUSED[case][1] in said[case]


def test_another_version_or_index_makes_another_environment(said: dict[str, str]) -> None:
    places = {said[case] for case in _TAKEN}
    assert all("/nowhere/environments/" in place for place in places), places
    assert len(places) == len(_TAKEN)
