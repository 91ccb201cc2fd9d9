"""Ansible's commands, run in the collection's folder as its users do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.ansible.options import AGENT, COLLECTION


def ansible(
    command: str, *arguments: str | Path, home: Path, inside: Sequence[str] = ()
) -> subprocess.CompletedProcess[str]:
    """Run one of the commands that stand beside this Python, to its end; `inside` is a command that runs it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    beside = Path(sys.executable).parent
    return subprocess.run(
        [*inside, str(beside / command), *map(str, arguments)],
        cwd=COLLECTION,
        env={
            **environment,
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",  # it refuses to start in another encoding
            "PATH": f"{beside}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def rendered(folder: Path, template: str, options: Mapping[str, Any], *, role: Path = AGENT) -> Path:
    """The file that the role makes of this template with these options."""
    made, given, playbook = folder / template.removesuffix(".j2"), folder / "given.json", folder / "render.yml"
    given.write_text(json.dumps(options))
    task = {"ansible.builtin.template": {"src": str(role / "templates" / template), "dest": str(made), "mode": "0600"}}
    files = [str(role / "defaults/main.yml"), str(role / "vars/main.yml"), str(given)]
    play = {"hosts": "localhost", "connection": "local", "gather_facts": False, "vars_files": files, "tasks": [task]}
    playbook.write_text(yaml.safe_dump([play]))
    done = ansible("ansible-playbook", playbook, home=folder / "home")
    assert done.returncode == 0, done.stdout + done.stderr
    return made
