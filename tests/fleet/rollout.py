"""A fleet of hosts for playbooks that go by steps: one inventory, canaries first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.ansible.controller import Played
from tests.fleet.managed import ONE_STEP, Groups, Managed, hang_up, options_of, play


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
        self,
        playbook: str,
        *arguments: str,
        of: Mapping[str, Mapping[str, object]] | None = None,
        canaries: int = 1,
        **options: object,
    ) -> Played:
        """Run a playbook; options, and those `of` single hosts, are the role's without its prefix."""
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
            "pganalytics_canaries": {each.host.name: {} for each in self.hosts[:canaries]},
        }
        return play(self.canary.host.network, self.folder, playbook, groups, *ONE_STEP, *arguments)

    def played(self, playbook: str, *arguments: str, **options: Any) -> Played:
        """The same, for what has to go well."""
        return self.play(playbook, *arguments, **options).well()

    def pids(self) -> dict[str, int]:
        return {each.host.name: each.main_pid() for each in self.hosts}

    def hang_up(self) -> None:
        hang_up(self.folder)
