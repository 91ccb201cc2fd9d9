"""A host that gets the standalone server by Ansible, and operators who use it from the control namespace."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509 import load_pem_x509_certificate

from tests.agent.authority import Authority
from tests.ansible.controller import Played
from tests.fleet import hosts
from tests.fleet.hosts import Network
from tests.fleet.managed import Managed, reached
from tests.nursery import ROOT

#: The first admin.
ADMIN, PASSWORD = "ann", "a pass phrase's end"


@dataclass(frozen=True)
class Served(Managed):
    """A host that is to be the server."""

    ca_file: Path
    role = "server"
    group = "pganalytics_server"

    @property
    def url(self) -> str:
        return f"https://{self.host.address}:8480"

    def serve(self, *arguments: str, **options: object) -> Played:
        """Run the server's playbook; it goes well."""
        return self.played("server", *arguments, **options)

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


@contextmanager
def server_host(network: Network, image: Path, carried: Path, name: str, number: int) -> Iterator[Served]:
    """Boot a host with PostgreSQL that never had the server."""
    folder = network.folder / f"{name}.controller"
    folder.mkdir()
    with network.host(name, number, image) as host:
        authority = Authority(folder, host.address)
        served = Served(
            host,
            folder,
            {
                **reached(host),
                "pganalytics_server_tls_cert_source": str(_certificate(authority)),
                "pganalytics_server_tls_key_source": str(_key(authority)),
                "pganalytics_server_wheels": str(carried),
                "pganalytics_server_admin": ADMIN,
                "pganalytics_server_admin_password": PASSWORD,
            },
            authority.ca_file,
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
