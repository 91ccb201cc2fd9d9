"""The standalone server as a process behind TLS 1.3, and beside it the least that any server would have to do."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import os
import secrets
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import uvicorn
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from pydantic import SecretStr
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from functions.authorizer.keys import dump, generate
from functions.store import Store
from infra.standalone.settings import listen, tls_context

_READY_SECONDS = 60.0

#: Where the reference finds the store that it is to ask; without, it writes what is posted.
_DSN = "BENCHMARK_STORE_DSN"

_THREADS = 16


@dataclass(frozen=True)
class Server:
    """A process that listens."""

    pid: int
    port: int
    folder: Path

    @property
    def certificate(self) -> Path:
        return self.folder / "cert.pem"

    @property
    def keys(self) -> Path:
        return self.folder / "keys.json"


@contextmanager
def standalone(dsn: str) -> Iterator[Server]:
    """`pganalytics serve` on this store, with its bucket and queue in a folder of its own."""
    arguments = ["-m", "cli.main", "serve", "--port", "0", "--migrate"]
    with tempfile.TemporaryDirectory(prefix="pganalytics-") as name:
        folder = Path(name)
        (folder / "keys.json").write_text(dump([generate()]))
        (folder / "keys.json").chmod(0o600)
        options = {"data-dir": folder / "data", "keys-file": folder / "keys.json"}
        with _process(folder, [*arguments, *_flags(options)], {"PGANALYTICS_STORE_DSN": dsn}) as server:
            yield server


@contextmanager
def plain() -> Iterator[Server]:
    """The reference: the same uvicorn and TLS, and each body written to a file that outlives a power cut."""
    with (
        tempfile.TemporaryDirectory(prefix="pganalytics-") as name,
        _process(Path(name), ["-m", "benchmarks.serving", name], {}) as server,
    ):
        yield server


@contextmanager
def asking(dsn: str) -> Iterator[Server]:
    """The reference of what asks the store: the same uvicorn and TLS, and for each request a bare `select 1`."""
    with (
        tempfile.TemporaryDirectory(prefix="pganalytics-") as name,
        _process(Path(name), ["-m", "benchmarks.serving", name], {_DSN: dsn}) as server,
    ):
        yield server


def _flags(options: dict[str, Path]) -> list[str]:
    return [part for name, value in options.items() for part in (f"--{name}", str(value))]


@contextmanager
def _process(folder: Path, arguments: list[str], environment: dict[str, str]) -> Iterator[Server]:
    _certify(folder)
    ready = folder / "ready.json"
    files = {"tls-cert": folder / "cert.pem", "tls-key": folder / "key.pem", "ready-file": ready}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments, *_flags(files)], env={**os.environ, **environment}, stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + _READY_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {(folder / 'log').read_text()[-2000:]}")
            time.sleep(0.05)
        yield Server(process.pid, int(json.loads(ready.read_text())["url"].rpartition(":")[2]), folder)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


def _certify(folder: Path) -> None:
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "bench")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").touch(0o600)
    (folder / "key.pem").write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


class _Writer:
    """Takes whatever is posted."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._threads = ThreadPoolExecutor(_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        body = await Request(scope, receive).body()
        await asyncio.get_running_loop().run_in_executor(self._threads, self._write, body)
        await Response(status_code=202)(scope, receive, send)

    def _write(self, body: bytes) -> None:
        with (self._folder / secrets.token_hex(8)).open("wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())


class _Asker:
    """Asks the store the least there is to ask, over one connection a thread."""

    def __init__(self, dsn: str) -> None:
        self._store = Store(SecretStr(dsn), "reference")
        self._threads = ThreadPoolExecutor(_THREADS)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.get_running_loop().run_in_executor(self._threads, self._store.read, "select 1", {})
        await Response(status_code=304)(scope, receive, send)


def main() -> None:
    folder, dsn = Path(sys.argv[1]), os.environ.get(_DSN)
    config = uvicorn.Config(
        _Asker(dsn) if dsn else _Writer(folder),
        http="h11",
        ws="none",
        loop="asyncio",
        lifespan="off",
        log_config=None,
        access_log=False,
        timeout_keep_alive=75,
    )
    config.load()
    config.ssl = tls_context(folder / "cert.pem", folder / "key.pem")
    with listen("127.0.0.1", 0) as listening:
        (folder / "ready.json").write_text(json.dumps({"url": f"https://127.0.0.1:{listening.getsockname()[1]}"}))
        uvicorn.Server(config).run([listening])


def client_context(server: Server) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=server.certificate)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


if __name__ == "__main__":
    main()
