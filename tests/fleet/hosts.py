"""Real hosts on this machine: Debian booted by systemd in namespaces, on a network of their own that leads nowhere."""

from __future__ import annotations

import contextlib
import os
import secrets
import shlex
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

SECONDS = 60.0

#: Where the bridge is, for whoever serves the hosts.
CONTROL_ADDRESS = "10.77.0.1"

_TOOLS = ("systemd-nspawn", "mmdebstrap", "ip", "nft", "ssh", "ssh-keygen")

_TOOLS_OF_DEBIAN = "systemd-container, mmdebstrap, iproute2, nftables, openssh-client"

#: Those of systemd's own tree and, on a hybrid system, of version 2.
_HIERARCHIES = ("/sys/fs/cgroup/systemd", "/sys/fs/cgroup/unified")


#: Runs its arguments, and again for as long as they end with what stands for a reboot. It goes into a group of its own
#: first: systemd would else find the group of another host, and both would manage it. A signal ends `wait` early.
_KEEPER = """
for procs in $PROCS; do echo 0 > "$procs"; done
trap 'kill -TERM "$host"' TERM
while :; do
    "$@" & host=$!
    wait "$host"; code=$?
    while kill -0 "$host" 2>/dev/null; do wait "$host"; code=$?; done
    [ "$code" = 133 ] || exit "$code"
done
"""


def missing() -> str | None:
    """Why there can be no hosts on this machine; None if there can."""
    if os.geteuid() != 0:
        return "hosts need root, for namespaces and mounts"
    absent = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if absent:
        return f"hosts need {', '.join(absent)} (Debian: {_TOOLS_OF_DEBIAN})"
    # What a host's boot does first; the path is this process's own in the new mount namespace.
    tried = "mount -t tmpfs none /mnt && ip link add bridge type bridge && nft add table ip probe"
    probe = subprocess.run(
        ["unshare", "--net", "--mount", "sh", "-c", tried], check=False, capture_output=True, text=True
    )
    if probe.returncode:
        return f"hosts need namespaces: {probe.stderr.strip()}"
    try:
        with _cgroup(f"pga-probe-{os.getpid()}"):
            return None
    except OSError as error:
        return f"hosts need control groups of their own: {error}"


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

    def sql(self, statement: str) -> str:
        """What the host's PostgreSQL answers its administrator, as psql prints it without frills."""
        return self.run(f"runuser -u postgres -- psql --no-psqlrc --quiet -At -c {shlex.quote(statement)}").strip()

    def reboot(self) -> None:
        """Restart the host; answers when it is up again."""
        boot = self.run("cat /proc/sys/kernel/random/boot_id")
        self.ask("systemctl reboot")  # which may end the connection before it answers
        self.hang_up()
        deadline = time.monotonic() + SECONDS
        again = f"test {boot.strip()} != $(cat /proc/sys/kernel/random/boot_id) && systemctl is-system-running --wait"
        while self.ask(again) != 0:
            assert time.monotonic() < deadline, f"{self.name} did not come up again"
            threading.Event().wait(0.2)

    @contextmanager
    def cut(self) -> Iterator[None]:
        """The host's wire is out: nothing passes, and nobody is told."""
        run("ip", "-n", self.network.control, "link", "set", self._wire, "down")
        try:
            yield
        finally:
            run("ip", "-n", self.network.control, "link", "set", self._wire, "up")

    @contextmanager
    def refused(self, port: int) -> Iterator[None]:
        """Every connection of the host to this port is refused, as if nobody served there."""
        inside = ("ip", "netns", "exec", self.namespace, "nft")
        rule = f"type filter hook output priority 0; tcp dport {port} reject with tcp reset;"
        run(*inside, f"table ip refused {{ chain out {{ {rule} }}; }}")
        try:
            yield
        finally:
            run(*inside, "delete table ip refused")

    @property
    def namespace(self) -> str:
        """The host's own network; it outlives a reboot."""
        return f"{self.network.control}-{self.address.rpartition('.')[2]}"

    @property
    def _wire(self) -> str:
        return f"h{self.address.rpartition('.')[2]}"

    def ask(self, command: str) -> int:
        """The command's exit code."""
        return subprocess.run(self._ssh(command), capture_output=True, check=False, timeout=SECONDS).returncode

    def hang_up(self) -> None:
        """End the connection that is kept for the next command."""
        subprocess.run(self._ssh("-O", "exit"), capture_output=True, check=False, timeout=SECONDS)

    def _ssh(self, *command: str) -> list[str]:
        options = [*self.network.ssh_options, "-o", "BatchMode=yes", "-o", "ConnectTimeout=5"]
        # A login costs far more than a command does.
        kept = ["-o", "ControlMaster=auto", "-o", "ControlPersist=yes", "-o", f"ControlPath={self.root}.ssh"]
        where = f"root@{self.address}"
        after = [*command, where] if command[0] == "-O" else [where, *command]
        return [*self.network.inside, "ssh", *options, *kept, *after]


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
    with _cgroup(host.namespace) as procs, log.open("wb") as console:
        process = subprocess.Popen(
            [
                *("sh", "-c", _KEEPER, "sh"),
                *("systemd-nspawn", "--quiet", "--register=no", "--keep-unit", f"--directory={host.root}"),
                *(
                    f"--machine={host.name}",
                    f"--network-namespace-path=/run/netns/{host.namespace}",
                    "--resolv-conf=off",
                ),
                *("--link-journal=no", "--console=read-only", "--boot"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            env={**os.environ, "SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1", "PROCS": " ".join(map(str, procs))},
            start_new_session=True,
        )
        try:
            _wait_until_up(host, process, log)
            yield
        finally:
            host.hang_up()
            process.terminate()  # an orderly shutdown
            try:
                process.wait(SECONDS)
            finally:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
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
