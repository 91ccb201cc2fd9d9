"""A step of a rollout is judged as one: who failed and why, whether it may, and whether the rollout goes on."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from tests.ansible.controller import ansible
from tests.ansible.options import AGENT, COLLECTION

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
    """Rehearse a rollout of a removal on this machine, which is every host; one that keeps nonsense fails."""
    shared = {
        "ansible_connection": "local",
        "ansible_python_interpreter": "{{ ansible_playbook_python }}",
        **{
            f"pganalytics_agent_{name}": value
            for name, value in {
                "confirm": False,
                "state_directory": str(folder / "state"),
                "settings_directory": str(folder / "settings"),
                "install_directory": str(folder / "installed"),
                **options,
            }.items()
        },
    }
    hosts = {name: {**shared, **of.get(name, {})} for name in _HOSTS}
    inventory, playbook = folder / "hosts.json", folder / "playbook.yml"
    groups = {"pganalytics_agents": {"hosts": hosts}, "pganalytics_canaries": {"hosts": {"canary": {}}}}
    inventory.write_text(json.dumps(groups))
    plays = yaml.safe_load((COLLECTION / "playbooks/deploy.yml").read_text())
    for play in plays:
        play["become"] = False
        (task,) = play["tasks"]
        task["ansible.builtin.include_role"]["name"] = str(AGENT)
        task["vars"]["_pganalytics_agent_work"] = "remove"
    playbook.write_text(yaml.safe_dump(plays))
    given = folder / "steps.json"
    given.write_text(json.dumps({"pganalytics_steps": steps}))
    named = ("--inventory", inventory, "--extra-vars", f"@{given}")
    done = ansible("ansible-playbook", "--check", *named, playbook, home=folder / "home")
    recap = dict(re.findall(r"^(\w+)\s+: ok=.* failed=(\d+)", done.stdout, re.MULTILINE))
    failed = {name for name, count in recap.items() if count != "0"}
    assert (done.returncode == 0) == (not failed), done.stdout + done.stderr
    return Judged(failed, set(_HOSTS) - set(recap), " ".join((done.stdout + done.stderr).split()))


_FAILS = {"pganalytics_agent_keep": ["nonsense"]}
_AWAY = {
    "ansible_connection": "ssh",
    "ansible_host": "127.0.0.1",
    "ansible_port": 1,
    "ansible_ssh_common_args": "-o BatchMode=yes -o ControlMaster=no",
}


def test_a_rollout_in_which_nobody_fails_comes_to_everybody(tmp_path: Path) -> None:
    assert judged(tmp_path, {}, [1, "100%"]).failed == set()


def test_of_canaries_none_may_fail(tmp_path: Path) -> None:
    ended = judged(tmp_path, {"canary": _FAILS}, ["100%"], max_fail_percentage=100)
    assert ended.failed == {"canary"}
    assert ended.untouched == {"one", "two", "three"}
    assert f"{_STOPS} canary: Validating arguments against arg spec" in ended.said
    assert "nonsense" in ended.said.partition(_STOPS)[2]


def test_a_step_in_which_too_many_fail_is_returned_as_one_and_is_the_last(tmp_path: Path) -> None:
    ended = judged(tmp_path, {"two": _FAILS}, [2])
    assert ended.failed == {"one", "two"}
    assert ended.untouched == {"three"}
    assert f"{_STOPS} two: " in ended.said


def test_where_some_may_fail_the_rollout_goes_on_without_them(tmp_path: Path) -> None:
    ended = judged(tmp_path, {"one": _FAILS}, [2], max_fail_percentage=50)
    assert ended.failed == {"one"}
    assert ended.untouched == set()
    assert f"{_GOES_ON} one: " in ended.said


def test_a_host_that_cannot_be_reached_counts_as_one_that_failed(tmp_path: Path) -> None:
    ended = judged(tmp_path, {"two": _AWAY}, ["100%"])
    assert ended.failed == {"one", "two", "three"}
    assert f"{_STOPS} two: it cannot be reached: " in ended.said
