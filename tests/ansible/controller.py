"""Ansible's commands, run in the collection's folder as its users do."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tests.ansible.options import AGENT, COLLECTION

#: How each host ended, in Ansible's last lines.
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Played:
    """How a playbook ended: what was changed on each host that it came to, and on which it failed."""

    code: int
    output: str = field(repr=False)
    seconds: float

    @property
    def changes(self) -> dict[str, int]:
        """How many changes were made, or would be, by the names of the hosts."""
        return {name: int(changed) for name, changed, _, _ in _RECAP.findall(self.output)}

    @property
    def changed(self) -> int:
        """The same of all hosts together."""
        return sum(self.changes.values())

    @property
    def failed(self) -> set[str]:
        """The hosts on which it did not come to its end."""
        return {name for name, _, away, failed in _RECAP.findall(self.output) if int(away) or int(failed)}

    @property
    def words(self) -> str:
        """The output with every white space as one."""
        return " ".join(self.output.replace("\\n", " ").split())

    def said(self) -> dict[str, str]:
        """What was said of each host on which it failed."""
        parts = re.split(r"fatal: \[([^]]+)\]", self.words)
        return dict(zip(parts[1::2], parts[2::2], strict=True))

    def well(self) -> Played:
        """The same, if it went well."""
        assert self.code == 0, self.output
        return self


def play(
    playbook: str | Path, *arguments: str | Path, home: Path, inside: Sequence[str] = (), cwd: Path = COLLECTION
) -> Played:
    """Run a playbook to its end, however it ends."""
    began = time.monotonic()
    done = ansible("ansible-playbook", *arguments, playbook, home=home, inside=inside, cwd=cwd)
    return Played(done.returncode, done.stdout + done.stderr, time.monotonic() - began)


def ansible(
    command: str, *arguments: str | Path, home: Path, inside: Sequence[str] = (), cwd: Path = COLLECTION
) -> subprocess.CompletedProcess[str]:
    """Run one of the commands that stand beside this Python, to its end; `inside` is a command that runs it."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE_")}
    beside = Path(sys.executable).parent
    return subprocess.run(
        [*inside, str(beside / command), *map(str, arguments)],
        cwd=cwd,
        env={
            **environment,
            "ANSIBLE_HOME": str(home),
            # Hosts of other tests have the same addresses.
            "ANSIBLE_SSH_CONTROL_PATH_DIR": str(home / "cp"),
            "ANSIBLE_NOCOLOR": "1",
            "LC_ALL": "C.UTF-8",  # it refuses to start in another encoding
            "PATH": f"{beside}:{os.environ['PATH']}",
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )


def installed(folder: Path) -> Path:
    """The collection as its users get it: built, and installed below this folder, for a configuration that is there."""
    home = folder / "home"
    built = ansible("ansible-galaxy", "collection", "build", "--output-path", folder, home=home)
    assert built.returncode == 0, built.stderr
    (archive,) = folder.glob("pganalytics-fleet-*.tar.gz")
    done = ansible(
        *("ansible-galaxy", "collection", "install", "--offline", "--collections-path", folder / "installed", archive),
        home=home,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (folder / "ansible.cfg").write_text("[defaults]\ncollections_path = installed\n[connection]\npipelining = True\n")
    return folder / "installed/ansible_collections/pganalytics/fleet"


def rendered(
    folder: Path, cases: Mapping[str, tuple[str, Mapping[str, Any]]], *, role: Path = AGENT
) -> dict[str, Path]:
    """The files that the role makes in each case of this template with these options; a case is a host by its name."""
    inventory, playbook = folder / "hosts.json", folder / "render.yml"
    made = {case: folder / case / template.removesuffix(".j2") for case, (template, _) in cases.items()}
    for case, (_, options) in cases.items():
        made[case].parent.mkdir()
        (folder / case / "given.json").write_text(json.dumps(options))
    hosts = {
        case: {"src": str(role / "templates" / template), "dest": str(made[case])}
        for case, (template, _) in cases.items()
    }
    inventory.write_text(json.dumps({"all": {"hosts": hosts}}))
    task = {"ansible.builtin.template": {"src": "{{ src }}", "dest": "{{ dest }}", "mode": "0600"}}
    # The last of the files wins, as a host's variables do over defaults.
    given = f"{folder}/{{{{ inventory_hostname }}}}/given.json"
    files = [str(role / "defaults/main.yml"), str(role / "vars/main.yml"), given]
    plays = [{"hosts": "all", "connection": "local", "gather_facts": False, "vars_files": files, "tasks": [task]}]
    playbook.write_text(yaml.safe_dump(plays))
    python = ("--extra-vars", f"ansible_python_interpreter={sys.executable}")
    play(playbook, "--inventory", inventory, *python, home=folder / "home").well()
    return made
