"""A fleet of hosts for playbooks that go by steps: one inventory, canaries first, and wheels of other versions."""

from __future__ import annotations

import json
import re
import secrets
import shutil
import time
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ansible.controller import ansible
from tests.fleet.conftest import Managed
from tests.fleet.hosts import run

#: How each host ended, in Ansible's last lines.
_RECAP = re.compile(r"^(\S+)\s+: ok=\d+\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.MULTILINE)


@dataclass(frozen=True)
class Rolled:
    """How a playbook ended on each host."""

    code: int
    output: str
    changed: dict[str, int]
    failed: set[str]
    seconds: float

    @property
    def words(self) -> str:
        """The output with every white space as one."""
        return " ".join(self.output.split())


@dataclass(frozen=True)
class Fleet:
    """Hosts of one inventory; the first is the canary, all others are one step."""

    hosts: tuple[Managed, ...]
    folder: Path

    @property
    def canary(self) -> Managed:
        return self.hosts[0]

    @property
    def others(self) -> tuple[Managed, ...]:
        return self.hosts[1:]

    def play(
        self, playbook: str, *arguments: str, of: Mapping[str, Mapping[str, object]] | None = None, **options: object
    ) -> Rolled:
        """Run a playbook; options, and those `of` single hosts, are the role's without its prefix."""
        inventory = self.folder / f"{secrets.token_hex(4)}.json"
        variables = {
            each.host.name: {**each.options, **_named(options), **_named((of or {}).get(each.host.name, {}))}
            for each in self.hosts
        }
        canaries: dict[str, object] = {"hosts": {self.canary.host.name: {}}}
        inventory.write_text(json.dumps({"pganalytics_agents": {"hosts": variables}, "pganalytics_canaries": canaries}))
        steps = self.folder / "steps.json"
        steps.write_text('{"pganalytics_steps": ["100%"]}')
        began = time.monotonic()
        done = ansible(
            "ansible-playbook",
            *("--inventory", str(inventory), "--extra-vars", f"@{steps}", f"playbooks/{playbook}.yml", *arguments),
            home=self.folder / "home",
            inside=self.canary.host.network.inside,
        )
        recap = _RECAP.findall(done.stdout)
        return Rolled(
            done.returncode,
            done.stdout + done.stderr,
            {name: int(changed) for name, changed, _, _ in recap},
            {name for name, _, unreachable, failed in recap if int(unreachable) or int(failed)},
            time.monotonic() - began,
        )

    def played(self, playbook: str, *arguments: str, **options: Any) -> Rolled:
        """The same, for what has to go well."""
        done = self.play(playbook, *arguments, **options)
        assert done.code == 0, done.output
        return done

    def pids(self) -> dict[str, int]:
        return {each.host.name: each.main_pid() for each in self.hosts}

    def hang_up(self) -> None:
        """End the connections that Ansible keeps open for its next run."""
        for socket in (self.folder / "home/cp").glob("*"):
            run("ssh", "-o", f"ControlPath={socket}", "-O", "exit", self.canary.host.address)


def other_version(wheels: Path, version: str, folder: Path, *, broken: bool = False) -> Path:
    """The same wheels, with ours as another version; a broken one can be installed, and its agent does not start."""
    shutil.copytree(wheels, folder)
    (ours,) = folder.glob("pganalytics-*.whl")
    before = ours.name.split("-")[1]
    made = folder / ours.name.replace(before, version, 1)
    with zipfile.ZipFile(ours) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            data = old.read(entry)
            if entry.filename.endswith(".dist-info/METADATA"):
                data = data.replace(f"\nVersion: {before}\n".encode(), f"\nVersion: {version}\n".encode(), 1)
            elif entry.filename.endswith(".dist-info/RECORD"):
                data = data.replace(f"pganalytics-{before}.".encode(), f"pganalytics-{version}.".encode())
            elif entry.filename == "contracts/version.py":
                data = data.replace(before.encode(), version.encode())
            elif entry.filename == "agent/service.py" and broken:
                data = data.replace(b"    taken = _read(path)\n", b"    raise SystemExit('this wheel is broken')\n", 1)
            new.writestr(entry.filename.replace(f"pganalytics-{before}.", f"pganalytics-{version}."), data)
    ours.unlink()
    return folder


def _named(options: Mapping[str, object]) -> dict[str, object]:
    return {f"pganalytics_agent_{name}": value for name, value in options.items()}
