"""The agent as a real process: its settings, its commands, its output."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.nursery import ROOT, nursery


@dataclass(frozen=True)
class Agent:
    """An agent with its files below one folder."""

    folder: Path

    @property
    def settings(self) -> Path:
        return self.folder / "agent.toml"

    @property
    def state(self) -> Path:
        return self.folder / "state"

    @property
    def log(self) -> Path:
        """What a running one writes to standard error."""
        return self.folder / "agent.log"

    def write(self, targets: str, url: str | None = "https://127.0.0.1:9", token: str | None = "a-token") -> None:
        """agent.toml, and the token's file unless there is none."""
        token_file = self.folder / "token"
        if token is not None:
            token_file.write_text(token)
        server = f'[server]\nurl = "{url}"\ntoken_file = "{token_file}"\n' if url else ""
        self.settings.write_text(f'agent_id = "db-1"\nstate_directory = "{self.state}"\n{server}{targets}')

    def command(self, *arguments: str) -> list[str]:
        return [sys.executable, "-m", "agent.main", *arguments, "--settings", str(self.settings)]

    def ask(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """Run a command to its end; `given` is its standard input."""
        options = ("--settings", self.settings)
        return nursery().run("agent", *arguments, *options, environment=os.environ, given=given, timeout=60)

    def ask_as_nobody(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The same without rights, which a process of root gives up once it has its modules."""
        command = [sys.executable, "-c", _NOBODY, *arguments, "--settings", str(self.settings)]
        return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, timeout=60)

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """`run` in the background, ended with the test."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(self.command("run"), cwd=ROOT, stdout=log, stderr=log)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(30)


_NOBODY = """
import os, pwd
from agent.main import app
from agent.postgres.queries import names
names()
nobody = pwd.getpwnam("nobody")
os.setgroups([])
os.setgid(nobody.pw_gid)
os.setuid(nobody.pw_uid)
app()
"""


def target(dsn: str, more: str = "") -> str:
    return f'[[targets]]\nname = "main"\ndsn = "{dsn}"\n{more}'
