"""What can be wrong with a log, in words that name the thing to mend."""

from __future__ import annotations

import grp
from pathlib import Path


class LogError(Exception):
    """The server's log cannot be followed."""


class LogSettingError(LogError):
    """A setting that describes the log has a value that cannot be used."""


class LogUnreadableError(LogError):
    """The agent may not read a log file, or the folder that holds it."""

    def __init__(self, path: Path, gid: int | None) -> None:
        super().__init__(f"cannot read {path}: permission denied; {_mend(gid)}")
        self.path = path


def _mend(gid: int | None) -> str:
    if gid is None:
        return "let the agent's user search the folders above it"
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        group = str(gid)
    return f"add the agent's user to the group {group}, and set log_file_mode = 0640 in PostgreSQL"
