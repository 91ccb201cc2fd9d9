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

    def __init__(self, path: Path) -> None:
        super().__init__(f"cannot read {path}: permission denied; {_mend(path)}")
        self.path = path


def _mend(path: Path) -> str:
    try:
        gid = path.stat().st_gid
    except OSError:
        return "let the agent's user search the folders above it"
    try:
        group = grp.getgrgid(gid).gr_name
    except KeyError:
        group = str(gid)
    return (
        f"add the agent's user to the group {group}, and let the group read: "
        "log_file_mode = 0640 and a log_directory outside the data directory"
    )
