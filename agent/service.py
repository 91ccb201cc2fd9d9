"""Runs the agent until it is told to stop, takes over new settings, and shows systemd that it lives."""

from __future__ import annotations

import faulthandler
import hashlib
import logging
import os
import signal
from dataclasses import dataclass
from pathlib import Path

from agent.identity.files import IdentityError
from agent.identity.whoami import whoami
from agent.runtime import Agent
from agent.settings import Settings, SettingsError, load
from agent.signals import Signals
from agent.spool import SpoolError
from agent.systemd import tell_systemd, watchdog_seconds

log = logging.getLogger(__name__)

#: SIGHUP takes over the settings and pulls the configuration, the others end the agent.
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)

#: What asks the server may end its request before another agent of this process asks.
_LAST_REQUEST_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class _Taken:
    """Settings, and the sha-256 of the file that they were read of."""

    settings: Settings
    sha256: str


def serve(path: Path) -> None:
    """Run the agent of these settings until SIGTERM or SIGINT; then spool what is in hand, and end.

    SIGHUP reads the settings anew. Others are taken over in the same process: what is in hand is spooled first, and
    what waits in the spool stays. Those that the agent cannot run with are refused, and the ones before stay. In any
    case the configuration is pulled.

    Raises:
        SettingsError: a setting is wrong, or there is nowhere to send.
        IdentityError: it cannot say who it is.
        SpoolError: there is nowhere to keep.
    """
    faulthandler.enable()  # where a stuck one was, when the watchdog ends it
    taken = _read(path)
    agent = Agent(taken.settings)
    signals = Signals(_SIGNALS)
    agent.start()
    _show(taken)
    tell_systemd("READY=1")
    patience = watchdog_seconds()
    while (number := signals.wait(patience / 4 if patience else None)) in {None, signal.SIGHUP}:
        if number == signal.SIGHUP:
            agent, taken = _reloaded(agent, taken, path)
            _show(taken)
        if stuck := agent.progress.stuck():
            log.error("no sign of life from %s", ", ".join(stuck))
        else:
            tell_systemd("WATCHDOG=1")
    log.info("stopping")
    tell_systemd("STOPPING=1")
    agent.stop()


def _read(path: Path) -> _Taken:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    return _Taken(load(path), hashlib.sha256(content).hexdigest())


def _reloaded(agent: Agent, before: _Taken, path: Path) -> tuple[Agent, _Taken]:
    try:
        taken = _read(path)
        whoami(taken.settings)
    except (SettingsError, IdentityError) as error:
        log.error("the settings are refused, those before stay: %s", error)
        taken = before
    if taken.settings == before.settings:
        agent.pull_now()
        return agent, taken
    agent.stop(_LAST_REQUEST_SECONDS)
    try:
        other = Agent(taken.settings)
    except (SettingsError, IdentityError, SpoolError) as error:
        log.error("the settings are refused, those before stay: %s", error)
        taken = before
        other = Agent(before.settings)
    else:
        log.info("new settings")
    other.start()
    return other, taken


def _show(taken: _Taken) -> None:
    """Leave the sha-256 of the settings that are obeyed where systemd has a folder for it, for whoever deploys them."""
    folder = os.environ.get("RUNTIME_DIRECTORY", "").partition(":")[0]
    if not folder:
        return
    try:
        # Not replaced: the folder's own time stays that of the start.
        (Path(folder) / "settings.sha256").write_text(f"{taken.sha256}\n")
    except OSError as error:
        log.warning("%s: %s", folder, error.strerror)
