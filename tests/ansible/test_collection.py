"""The collection is what ansible-core and ansible-lint take for a good one."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.ansible.controller import ansible, installed
from tests.ansible.options import COLLECTION, ROLES, specified


def test_ansible_lint_has_nothing_to_say(tmp_path: Path) -> None:
    done = ansible("ansible-lint", "--offline", "--strict", home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_playbooks_are_understood(tmp_path: Path) -> None:
    playbooks = sorted((COLLECTION / "playbooks").glob("*.yml"))
    done = ansible("ansible-playbook", "--syntax-check", *playbooks, home=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("playbook: ") == len(playbooks) > 0


def test_it_can_be_built_and_installed(tmp_path: Path) -> None:
    collection = installed(tmp_path)
    assert [role.name for role in ROLES if not (collection / "roles" / role.name / "tasks/main.yml").exists()] == []
    assert (collection / "playbooks/deploy.yml").exists()
    assert not (collection / "inventories").exists()


def test_its_version_is_the_changelogs_newest() -> None:
    version = yaml.safe_load((COLLECTION / "galaxy.yml").read_text())["version"]
    assert re.search(r"^## (\S+)", (COLLECTION / "CHANGELOG.md").read_text(), re.MULTILINE)[1] == version  # type: ignore[index]


def _tasks(tasks: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Tasks without the blocks that they stand in."""
    for task in tasks:
        inner = [each for part in ("block", "rescue", "always") for each in task.get(part, ())]
        yield from _tasks(inner) if inner else (task,)


@pytest.mark.parametrize("role", ROLES, ids=[role.name for role in ROLES])
def test_whatever_handles_a_secret_tells_nobody(role: Path) -> None:
    secret = "|".join(name for name, option in specified(role)["main"].items() if option.get("no_log"))
    files = sorted((role / "tasks").iterdir())
    tasks = [task for file in files for task in _tasks(yaml.safe_load(file.read_text()))]
    # In an expression, and not as the name that an error's message gives.
    handling = [task for task in tasks if secret and re.search(rf"\{{\{{ [^}}']*\b({secret})\b", str(task))]
    assert [task["name"] for task in handling if (task.get("no_log"), task.get("diff")) != (True, False)] == []
