"""A fleet of hosts for playbooks that go by steps: one inventory, canaries first, and wheels of other versions."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ansible.controller import Played
from tests.fleet.managed import Groups, Managed, hang_up, options_of, play


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
    ) -> Played:
        """Run a playbook; options, and those `of` single hosts, are the role's without its prefix."""
        steps = self.folder / "steps.json"
        steps.write_text('{"pganalytics_steps": ["100%"]}')
        variables = {
            each.host.name: {
                **each.options,
                **options_of("agent", options),
                **options_of("agent", (of or {}).get(each.host.name, {})),
            }
            for each in self.hosts
        }
        groups: Groups = {
            "pganalytics_agents": variables,
            "pganalytics_canaries": {self.canary.host.name: {}},
        }
        given = ("--extra-vars", f"@{steps}", *arguments)
        return play(self.canary.host.network, self.folder, playbook, groups, *given)

    def played(self, playbook: str, *arguments: str, **options: Any) -> Played:
        """The same, for what has to go well."""
        return self.play(playbook, *arguments, **options).well()

    def pids(self) -> dict[str, int]:
        return {each.host.name: each.main_pid() for each in self.hosts}

    def hang_up(self) -> None:
        hang_up(self.folder)


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
