"""Hosts that are managed by Ansible from the control namespace, as most fleets are: by a user who becomes root."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from tests.ansible import controller
from tests.ansible.controller import Played
from tests.ansible.options import COLLECTION
from tests.fleet.hosts import Host, Network, run

#: What a rollout is told so that all hosts but the canaries are one step.
ONE_STEP = ("--extra-vars", '{"pganalytics_steps": ["100%"]}')

#: By group and by host, what an inventory says.
Groups = Mapping[str, Mapping[str, Mapping[str, object]]]


def reached(host: Host) -> dict[str, object]:
    """What an inventory says of how to reach this host; the user is made there."""
    # Root does not log in, and what root makes is for root.
    host.run(
        "useradd --create-home keeper && cp -r .ssh ~keeper && chown -R keeper: ~keeper/.ssh"
        " && echo 'Defaults umask=0077, umask_override' > /etc/sudoers.d/keeper"
        " && echo 'keeper ALL=(ALL) NOPASSWD: ALL' >> /etc/sudoers.d/keeper"
    )
    return {
        "ansible_host": host.address,
        "ansible_user": "keeper",
        "ansible_ssh_common_args": " ".join(host.network.ssh_options),
        "ansible_python_interpreter": "/usr/bin/python3",
    }


def options_of(role: str, options: Mapping[str, object]) -> dict[str, object]:
    """The variables of these options, which are given without their prefix."""
    return {f"pganalytics_{role}_{name}": value for name, value in options.items()}


def play(
    network: Network,
    folder: Path,
    playbook: str | Path,
    groups: Groups,
    *arguments: str | Path,
    cwd: Path = COLLECTION,
) -> Played:
    """Run a playbook, one of the checkout's by its name; the folder has its inventory and Ansible's home."""
    # A file, and not the command line, which everybody on the controller may read.
    inventory = folder / f"{secrets.token_hex(4)}.json"
    inventory.write_text(json.dumps({group: {"hosts": hosts} for group, hosts in groups.items()}))
    file = f"playbooks/{playbook}.yml" if isinstance(playbook, str) else playbook
    home, inside = folder / "home", network.inside
    return controller.play(file, "--inventory", inventory, *arguments, home=home, inside=inside, cwd=cwd)


def hang_up(folder: Path) -> None:
    """End the connections that Ansible keeps open for its next run."""
    for socket in (folder / "home/cp").glob("*"):
        run("ssh", "-o", f"ControlPath={socket}", "-O", "exit", "any")


@dataclass(frozen=True)
class Managed:
    """A host, and what its inventory says of it."""

    host: Host
    folder: Path
    options: dict[str, Any] = field(repr=False)

    #: Whose options are given to `play` without their prefix, and which group the host is in.
    role: ClassVar[str] = "agent"
    group: ClassVar[str] = "pganalytics_agents"

    def play(self, playbook: str | Path, *arguments: str | Path, **options: object) -> Played:
        """Run a playbook; options are those of the role without its prefix, and win over the inventory's."""
        hosts = {self.host.name: {**self.options, **options_of(self.role, options)}}
        return play(self.host.network, self.folder, playbook, {self.group: hosts}, *arguments)

    def played(self, playbook: str | Path, *arguments: str | Path, **options: object) -> Played:
        """The same, for what has to go well."""
        return self.play(playbook, *arguments, **options).well()

    def main_pid(self) -> int:
        """The process of the service; 0 where none runs."""
        return int(self.host.run(f"systemctl show --property=MainPID --value pganalytics-{self.role}"))

    def hang_up(self) -> None:
        hang_up(self.folder)
