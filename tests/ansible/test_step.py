"""A step of a rollout is judged as one: who failed and why, whether it may, and whether the rollout goes on."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.ansible.controller import play

pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can rehearse what the role does as root"),
]

_HOSTS = ("canary", "one", "two", "three")
_STOPS = "The step failed: its hosts are returned to what ran before, and the rollout stops."
_GOES_ON = "This host is returned to what ran before, and the rollout goes on."


@dataclass(frozen=True)
class Judged:
    """Who failed, who was never asked to do anything, and all that was said."""

    failed: set[str]
    untouched: set[str]
    said: str


def judged(folder: Path, of: Mapping[str, Mapping[str, object]], steps: list[int | str], **options: object) -> Judged:
    """Rehearse that a fleet is rolled back which has no version before, on this machine, which is every host."""
    shared = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        "ansible_become": False,
        "pganalytics_agent_confirm": False,
        "pganalytics_agent_install_directory": str(folder / "installed"),
        **{f"pganalytics_agent_{name}": value for name, value in options.items()},
    }
    hosts = {name: {**shared, **of.get(name, {})} for name in _HOSTS}
    inventory, given = folder / "hosts.json", folder / "steps.json"
    groups = {"pganalytics_agents": {"hosts": hosts}, "pganalytics_canaries": {"hosts": {"canary": {}}}}
    inventory.write_text(json.dumps(groups))
    given.write_text(json.dumps({"pganalytics_steps": steps}))
    arguments = ("--check", "--inventory", inventory, "--extra-vars", f"@{given}")
    done = play("playbooks/rollback.yml", *arguments, home=folder / "home")
    assert (done.code == 0) == (not done.failed), done.output
    return Judged(done.failed, set(_HOSTS) - set(done.changes), done.words)


_FAILS = {"pganalytics_agent_keep": ["nonsense"]}
_AWAY = {
    "ansible_connection": "ssh",
    "ansible_host": "127.0.0.1",
    "ansible_port": 1,
    "ansible_ssh_common_args": "-o BatchMode=yes -o ControlMaster=no",
}


def test_of_canaries_none_may_fail(tmp_path: Path) -> None:
    ended = judged(tmp_path, {"canary": _FAILS}, ["100%"], max_fail_percentage=100)
    assert ended.failed == {"canary"}
    assert ended.untouched == {"one", "two", "three"}
    assert f"{_STOPS} canary: Validating arguments against arg spec" in ended.said
    assert "nonsense" in ended.said.partition(_STOPS)[2]


def test_a_step_in_which_too_many_fail_is_returned_as_one_and_is_the_last(tmp_path: Path) -> None:
    ended = judged(tmp_path, {"two": _AWAY}, [2])
    assert ended.failed == {"one", "two"}
    assert ended.untouched == {"three"}
    assert f"{_STOPS} two: it cannot be reached: " in ended.said


def test_where_some_may_fail_the_rollout_goes_on_without_them_and_comes_to_everybody(tmp_path: Path) -> None:
    ended = judged(tmp_path, {"one": _FAILS}, [2], max_fail_percentage=50)
    assert ended.failed == {"one"}
    assert ended.untouched == set()
    assert f"{_GOES_ON} one: " in ended.said
