"""A host that gets the standalone server by Ansible, and operators who use it from the control namespace."""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from tests.agent.authority import Authority
from tests.ansible.controller import ansible
from tests.fleet import hosts
from tests.fleet.conftest import Played
from tests.fleet.hosts import Host, Network
from tests.nursery import ROOT

#: The first admin.
ADMIN, PASSWORD = "ann", "a pass phrase's end"


@dataclass(frozen=True)
class Served:
    """A host that is to be the server, and what its inventory says of it."""

    host: Host
    folder: Path
    ca_file: Path
    options: dict[str, Any] = field(repr=False)

    @property
    def url(self) -> str:
        return f"https://{self.host.address}:8480"

    def play(self, *arguments: str, **options: object) -> Played:
        """Run the playbook; options are those of the role without its prefix, and win over the inventory's."""
        # A file, and not the command line, which everybody on the controller may read.
        inventory = self.folder / f"{secrets.token_hex(4)}.json"
        given = {f"pganalytics_server_{name}": value for name, value in options.items()}
        inventory.write_text(json.dumps({"pganalytics_server": {"hosts": {self.host.name: {**self.options, **given}}}}))
        done = ansible(
            "ansible-playbook",
            "--inventory",
            inventory,
            "playbooks/server.yml",
            *arguments,
            home=self.folder / "home",
            inside=self.host.network.inside,
        )
        changed = re.search(r"changed=(\d+)", done.stdout)
        return Played(done.returncode, done.stdout + done.stderr, int(changed[1]) if changed else -1)

    def played(self, *arguments: str, **options: object) -> Played:
        """The same, for what has to go well."""
        done = self.play(*arguments, **options)
        assert done.code == 0, done.output
        return done

    def main_pid(self) -> int:
        """The process of the server; 0 where none runs."""
        return int(self.host.run("systemctl show --property=MainPID --value pganalytics-server"))

    def starts(self) -> int:
        """How often systemd has started it since the host booted."""
        return int(self.host.run("journalctl --unit=pganalytics-server --output=cat | grep -c ^Started").strip())

    def asked(self, sql: str) -> str:
        """What the store answers its superuser."""
        return self.host.run(f'runuser -u postgres -- psql -XAtd pganalytics -c "{sql}"').strip()

    def operator(self, *arguments: str, stdin: str = "") -> str:
        """What the operator's command prints, beside the hosts and over the network."""
        done = subprocess.run(
            [*self.host.network.inside, sys.executable, "-m", "cli.main", *arguments],
            input=stdin,
            env={**os.environ, "PYTHONPATH": str(ROOT), "XDG_STATE_HOME": str(self.folder / "operator")},
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=hosts.SECONDS,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout.strip()

    def log_in(self) -> None:
        """Begin a session of the first admin's."""
        given = ("--user", ADMIN, "--ca", str(self.ca_file), "--password-file", "-")
        self.operator("login", "--server", self.url, *given, stdin=PASSWORD)

    def hang_up(self) -> None:
        """End the connections that Ansible keeps open for its next run."""
        for socket in (self.folder / "home/cp").glob("*"):
            hosts.run("ssh", "-o", f"ControlPath={socket}", "-O", "exit", self.host.address)


@contextmanager
def server_host(network: Network, image: Path, carried: Path, name: str, number: int) -> Iterator[Served]:
    """Boot a host with PostgreSQL that never had the server."""
    folder = network.folder / f"{name}.controller"
    folder.mkdir()
    with network.host(name, number, image) as host:
        # As most fleets are: root does not log in, and what root makes is for root.
        host.run(
            "useradd --create-home keeper && cp -r .ssh ~keeper && chown -R keeper: ~keeper/.ssh"
            " && echo 'Defaults umask=0077, umask_override' > /etc/sudoers.d/keeper"
            " && echo 'keeper ALL=(ALL) NOPASSWD: ALL' >> /etc/sudoers.d/keeper"
        )
        authority = Authority(folder, host.address)
        served = Served(
            host,
            folder,
            authority.ca_file,
            {
                "ansible_host": host.address,
                "ansible_user": "keeper",
                "ansible_ssh_common_args": " ".join(network.ssh_options),
                "ansible_python_interpreter": "/usr/bin/python3",
                "pganalytics_server_tls_cert_source": str(_certificate(authority)),
                "pganalytics_server_tls_key_source": str(_key(authority)),
                "pganalytics_server_wheels": str(carried),
                "pganalytics_server_admin": ADMIN,
                "pganalytics_server_admin_password": PASSWORD,
            },
        )
        try:
            yield served
        finally:
            served.hang_up()


def _certificate(authority: Authority) -> Path:
    file = authority.server_chain.with_name("server.crt")
    file.write_bytes(
        load_pem_x509_certificate(authority.server_chain.read_bytes()).public_bytes(Encoding.PEM),
    )
    return file


def _key(authority: Authority) -> Path:
    file = authority.server_chain.with_name("server.key")
    key = load_pem_private_key(authority.server_chain.read_bytes(), password=None)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return file
