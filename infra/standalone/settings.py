"""What the standalone server is told at its start, and the checks that name what to mend before anything runs."""

from __future__ import annotations

import ipaddress
import os
import socket
import ssl
import stat
from pathlib import Path
from typing import Annotated, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from functions.environment import sources, variable
from functions.ingest.bucket import open_bucket
from functions.secret import open_to_others
from infra.standalone.dsn import StoreDsn
from infra.standalone.limits import Limits

_AUTHORITIES = "expected are certificates of authorities, in PEM, as `pganalytics authority show` prints them"


class StartError(Exception):
    """The server cannot start; the message names what to mend."""


def _is_bucket(url: str) -> str:
    open_bucket(url)
    return url


#: Requests in a second; 0 is no limit.
Rate = Annotated[float, Field(ge=0, le=1_000_000, allow_inf_nan=False)]


class Settings(BaseModel):
    """Everything the server needs; paths are made absolute. Port 0 is any free port."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    host: str = "127.0.0.1"
    port: Annotated[int, Field(ge=0, le=65535)] = 8480
    data_dir: Annotated[Path, AfterValidator(Path.absolute)]
    bucket_url: Annotated[str, AfterValidator(_is_bucket)]
    store_dsn: StoreDsn
    keys_file: Annotated[Path, AfterValidator(Path.absolute)]
    tls_cert: Path | None = None
    tls_key: Path | None = None
    client_ca: Path | None = None
    authority_file: Annotated[Path, AfterValidator(Path.absolute)] | None = None
    agent_rate: Rate = Limits.agent_rate
    address_rate: Rate = Limits.address_rate
    max_connections: Annotated[int, Field(ge=1, le=1_000_000)] = Limits.connections
    address_connections: Annotated[int, Field(ge=1, le=1_000_000)] = Limits.address_connections
    plain_http: bool = False
    migrate: bool = False
    ready_file: Path | None = None
    drain_seconds: Annotated[float, Field(gt=0, le=600)] = 30

    @model_validator(mode="after")
    def _no_token_in_clear(self) -> Self:
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("tls_cert and tls_key come together")
        if self.client_ca is not None and self.tls_cert is None:
            raise ValueError("client_ca: clients show certificates over TLS only; give tls_cert and tls_key")
        if self.tls_cert is None and not self.plain_http and not is_loopback(self.host):
            raise ValueError(
                f"host: on {self.host} tokens would cross the network in clear; give tls_cert and tls_key, "
                "or plain_http if a proxy in front of this server speaks TLS"
            )
        return self

    @property
    def scheme(self) -> str:
        return "https" if self.tls_cert else "http"

    @property
    def limits(self) -> Limits:
        return Limits(
            agent_rate=self.agent_rate,
            address_rate=self.address_rate,
            connections=self.max_connections,
            address_connections=self.address_connections,
        )

    def tell_functions(self) -> None:
        """Set the variables that the functions read, in the place of what said the same otherwise."""
        values = {
            "bucket_url": self.bucket_url,
            "store_dsn": self.store_dsn.get_secret_value(),
            "store_at": None,
            "keys_file": str(self.keys_file),
            "authority_file": None if self.authority_file is None else str(self.authority_file),
            "bind_tokens": "false" if self.client_ca is None else "true",
            "authorizer_answer": "simple",
        }
        for name, value in values.items():
            for each in sources(name):
                os.environ.pop(each, None)
            if value is not None:
                os.environ[variable(name)] = value


def is_loopback(host: str) -> bool:
    """Whether what is sent to this address stays on the machine."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def private_folder(path: Path) -> None:
    """Make the folder if need be.

    Raises:
        StartError: it cannot be made, or others may enter it.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    except OSError as error:
        raise StartError(f"the folder {path}: {error.strerror}; give one that this account may write") from error
    if status.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise StartError(f"the folder {path} is open to others: chmod 700 {path}")
    if not os.access(path, os.W_OK | os.X_OK):
        raise StartError(f"the folder {path} cannot be written by this account: chown it")


def tls_context(cert: Path, key: Path, client_ca: Path | None = None) -> ssl.SSLContext:
    """TLS 1.3 and no less. With authorities, clients are asked for a certificate of one of these, and may have none.

    Raises:
        StartError: the files cannot be read, do not belong together, or others can read the key.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    for file in (cert, key):
        _check_readable(file)
    try:
        # The empty password: a key that has one is refused, where OpenSSL would ask for it at the terminal.
        context.load_cert_chain(cert, key, password="")
    except ssl.SSLError as error:
        raise StartError(
            f"the TLS files {cert} and {key}: {error.reason or error}; expected are a certificate chain and its key, "
            "in PEM, without a password"
        ) from error
    _check_private(key)
    if client_ca is not None:
        _ask_for_certificates(context, client_ca)
    return context


def _check_readable(file: Path) -> None:
    try:
        file.open("rb").close()
    except OSError as error:
        raise StartError(f"the TLS file {file}: {error.strerror}") from error


def _check_private(key: Path) -> None:
    """As PostgreSQL has it of its own: the owner's alone, or root's, which a group may read."""
    found = key.stat()
    kept = found.st_mode & ~stat.S_IRGRP if found.st_uid == 0 else found.st_mode
    if open_to_others(key, kept):
        raise StartError(
            f"the TLS key {key}: others than its owner can read or write it; chmod 600 it (640 if it is root's, and a "
            "group is to read it), and replace the key"
        )


def _ask_for_certificates(context: ssl.SSLContext, authorities: Path) -> None:
    _check_readable(authorities)
    try:
        context.load_verify_locations(authorities)
    except ssl.SSLError as error:
        raise StartError(f"the authorities {authorities}: {error.reason or error}; {_AUTHORITIES}") from error
    if not context.get_ca_certs():
        raise StartError(f"the authorities {authorities}: there is none among these certificates; {_AUTHORITIES}")
    context.verify_mode = ssl.CERT_OPTIONAL  # operators, and hosts that enrol, have none
    context.num_tickets = 0  # a session that is taken up again is not verified again: its certificate may have expired


def listen(host: str, port: int) -> socket.socket:
    """The socket to serve on.

    Raises:
        StartError: the address is not this machine's, or is in use.
    """
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        return socket.create_server(address, family=family, backlog=2048)
    except OSError as error:
        # socket.create_server adds the address to the text; the numbers of getaddrinfo are its own.
        reason = error.strerror if isinstance(error, socket.gaierror) else os.strerror(error.errno or 0)
        raise StartError(f"{host} port {port}: {reason}; choose another host or port") from error
