"""Real hosts on this machine: Debian booted by systemd in namespaces, on a network of their own that leads nowhere."""

from __future__ import annotations

import contextlib
import hashlib
import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60.0

#: Where the bridge is, for whoever serves the hosts.
CONTROL_ADDRESS = "10.77.0.1"

_TOOLS = ("systemd-nspawn", "mmdebstrap", "ip", "ssh", "ssh-keygen")

_PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "libpam-systemd", "openssh-server", "iproute2", "ca-certificates", "procps"),
    *("python3", "python3-venv", "sudo", "postgresql"),
)

#: Those of systemd's own tree and, on a hybrid system, of version 2.
_HIERARCHIES = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")


def missing() -> str | None:
    """Why there can be no hosts on this machine; None if there can."""
    if os.geteuid() != 0:
        return "hosts need root, for namespaces and mounts"
    absent = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if absent:
        return f"hosts need {', '.join(absent)} (Debian: systemd-container, mmdebstrap, iproute2, openssh-client)"
    probe = subprocess.run(["unshare", "--net", "--mount", "true"], check=False, capture_output=True, text=True)
    return f"hosts need namespaces: {probe.stderr.strip()}" if probe.returncode else None


def base_image(cache: Path, release: str) -> Path:
    """The archive of a host's file system, made once; another list of packages makes another."""
    packages = ",".join(_PACKAGES)
    image = cache / f"{release}-{hashlib.sha256(packages.encode()).hexdigest()[:12]}.tar"
    if not image.exists():
        cache.mkdir(parents=True, exist_ok=True)
        scratch = image.with_suffix(".new.tar")
        excluded = [f"--dpkgopt=path-exclude=/usr/share/{part}/*" for part in ("doc", "locale", "man")]
        run("mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", *excluded, release, scratch)
        scratch.rename(image)
    return image


def run(*command: str | Path, seconds: float = 600) -> str:
    """Run a command to its end; its output is in the error if it fails."""
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False, timeout=seconds)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@dataclass(frozen=True)
class Host:
    """One running host, which answers ssh as root from the control namespace."""

    name: str
    address: str
    root: Path
    network: Network

    def run(self, command: str) -> str:
        """What the command, which the host's shell reads, prints."""
        return run(*self._ssh(command))

    def ask(self, command: str) -> int:
        """The command's exit code."""
        return subprocess.run(self._ssh(command), capture_output=True, check=False, timeout=SECONDS).returncode

    def _ssh(self, command: str) -> list[str]:
        options = [*self.network.ssh_options, "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
        return [*self.network.inside, "ssh", *options, f"root@{self.address}", command]


@dataclass(frozen=True)
class Network:
    """A control namespace with a bridge, to which every host has a wire."""

    folder: Path
    control: str

    @property
    def inside(self) -> list[str]:
        """What comes before a command that is to run in the control namespace."""
        return ["ip", "netns", "exec", self.control]

    @property
    def ssh_options(self) -> list[str]:
        return ["-i", str(self.folder / "key"), "-o", f"UserKnownHostsFile={self.folder / 'known_hosts'}"]

    @contextmanager
    def host(self, name: str, number: int, image: Path) -> Iterator[Host]:
        """Boot a host of this image, and give it up at the end. Numbers, from 2, are the ends of the addresses."""
        with ExitStack() as stack:
            root = self.folder / name
            root.mkdir()
            stack.callback(shutil.rmtree, root)
            run("tar", "--extract", "--numeric-owner", "--file", image, "--directory", root)
            host = Host(name, f"10.77.0.{number}", root, self)
            self._prepare(host)
            stack.enter_context(self._wire(host, number))
            stack.enter_context(_booted(host, self.folder / f"{name}.log"))
            yield host

    def _prepare(self, host: Host) -> None:
        """An identity of its own, and the key that opens it."""
        (host.root / "etc/hostname").write_text(f"{host.name}\n")
        (host.root / "etc/hosts").write_text(f"127.0.0.1 localhost\n{host.address} {host.name}\n")
        (host.root / "etc/machine-id").write_text(f"{secrets.token_hex(16)}\n")
        keys = host.root / "root/.ssh"
        keys.mkdir(mode=0o700, exist_ok=True)
        (keys / "authorized_keys").write_text((self.folder / "key.pub").read_text())
        for key in (host.root / "etc/ssh").glob("ssh_host_*"):
            key.unlink()
        run("ssh-keygen", "-q", "-A", "-f", host.root)
        with (self.folder / "known_hosts").open("a") as known:
            for key in (host.root / "etc/ssh").glob("ssh_host_*_key.pub"):
                known.write(f"{host.address} {key.read_text()}")

    @contextmanager
    def _wire(self, host: Host, number: int) -> Iterator[None]:
        name = f"{self.control}-{number}"
        with _namespace(name):
            run("ip", "-n", self.control, "link", "add", f"h{number}", "type", "veth", "peer", "host0", "netns", name)
            run("ip", "-n", self.control, "link", "set", f"h{number}", "master", "bridge", "up")
            run("ip", "-n", name, "addr", "add", f"{host.address}/24", "dev", "host0")
            for device in ("lo", "host0"):
                run("ip", "-n", name, "link", "set", device, "up")
            yield


@contextmanager
def network() -> Iterator[Network]:
    """A network without hosts."""
    name = f"pga{secrets.token_hex(3)}"
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="pganalytics-fleet-"))
        stack.callback(shutil.rmtree, folder)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / "key")
        stack.enter_context(_namespace(name))
        run("ip", "-n", name, "link", "add", "bridge", "type", "bridge")
        run("ip", "-n", name, "addr", "add", f"{CONTROL_ADDRESS}/24", "dev", "bridge")
        for device in ("lo", "bridge"):
            run("ip", "-n", name, "link", "set", device, "up")
        yield Network(folder, name)


@contextmanager
def _namespace(name: str) -> Iterator[None]:
    run("ip", "netns", "add", name)
    try:
        yield
    finally:
        run("ip", "netns", "delete", name)


@contextmanager
def _booted(host: Host, log: Path) -> Iterator[None]:
    namespace = f"{host.network.control}-{host.address.rpartition('.')[2]}"
    with _cgroup(namespace) as procs, log.open("wb") as console:
        process = subprocess.Popen(
            [
                # It moves itself first: systemd would else find the group of another host, and both would manage it.
                *("sh", "-c", 'for procs in $PROCS; do echo 0 > "$procs"; done; exec "$@"', "sh"),
                *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--directory={host.root}"),
                *(f"--machine={host.name}", f"--network-namespace-path=/run/netns/{namespace}", "--resolv-conf=off"),
                *("--link-journal=no", "--console=read-only", "--boot"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "PROCS": " ".join(map(str, procs))},
        )
        try:
            _wait_until_up(host, process, log)
            yield
        finally:
            process.terminate()  # an orderly shutdown
            try:
                process.wait(SECONDS)
            finally:
                process.kill()
                process.wait()


def _wait_until_up(host: Host, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + SECONDS
    while host.ask("systemctl is-system-running --wait") != 0:
        assert process.poll() is None, f"{host.name} ended: {log.read_text(errors='replace')}"
        assert time.monotonic() < deadline, f"{host.name} did not come up: {log.read_text(errors='replace')}"
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.1)


@contextmanager
def _cgroup(name: str) -> Iterator[Sequence[Path]]:
    """A control group of the host's own in each hierarchy; answers where processes are put into it."""
    trees = [Path(tree) for tree in _HIERARCHIES if Path(tree).is_dir()] or [Path("/sys/fs/cgroup")]
    groups = [tree / name for tree in trees]
    for group in groups:
        group.mkdir()
    try:
        yield [group / "cgroup.procs" for group in groups]
    finally:
        for group in groups:
            for folder, _, _ in os.walk(group, topdown=False):
                Path(folder).rmdir()
