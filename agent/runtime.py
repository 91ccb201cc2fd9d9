"""Puts the parts of the agent together, starts and stops them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING
from uuid import uuid4

from agent.assemble import Assembler, Batcher
from agent.budget import Budget
from agent.changes import Changes
from agent.collectors.health import Delivery, Health, Watched
from agent.configuration import Configuration, Puller
from agent.identity.whoami import Who, whoami
from agent.outbox import Outbox
from agent.progress import Progress
from agent.schedule import Schedule, Target
from agent.sender import Sender
from agent.settings import Settings
from agent.spool import Spool
from agent.targets.host import HostTarget
from agent.targets.itself import AgentTarget
from agent.targets.server import ServerTarget
from agent.transports.choice import chosen
from agent.transports.http import ServerClient
from contracts.batch import Batch, Clock
from contracts.document import Document
from contracts.names import HOST_TARGET
from contracts.version import __version__

if TYPE_CHECKING:
    from agent.identity.renewal import Renewer

log = logging.getLogger(__name__)


def targets(
    settings: Settings, changes: Changes, outbox: Outbox, marks: Callable[[], Mapping[str, str]]
) -> list[Target]:
    """What these settings say to watch; `marks` answers how far each target's log was read and stored."""
    watched: list[Target] = [HostTarget(outbox)] if settings.host.enabled else []
    watched += [ServerTarget(target, changes, outbox, marks) for target in settings.targets]
    return watched


def health(outbox: Outbox, watched: list[Target], delivery: Delivery | None = None) -> Health:
    """The figures of an agent that watches these; the host is among them, as the agent's own collectors run there."""
    servers = [Watched(target.name, target.cost) for target in watched if isinstance(target, ServerTarget)]
    return Health(outbox, [Watched(HOST_TARGET, lambda: None), *servers], delivery)


class Agent:
    """The whole agent."""

    def __init__(self, settings: Settings) -> None:
        """Make the parts, and start none.

        Raises:
            SettingsError: there is nowhere to send.
            IdentityError: it cannot say who it is.
            SpoolError: there is nowhere to keep.
        """
        #: Whether its parts get on with their work.
        self.progress = Progress()
        self._outbox = Outbox()
        self._changes = Changes()
        who = whoami(settings)
        server = ServerClient(settings.server, who.files) if settings.server else None
        transport = chosen(settings, server)
        self._spool = Spool(
            settings.state_directory / "spool", settings.spool.max_bytes, settings.spool.max_age_hours * 3600
        )
        self._sender = Sender(self._spool, transport, self._changes.forget, self.progress)
        watched = targets(settings, self._changes, self._outbox, lambda: self._spool.marks)
        delivery = Delivery(self._spool, self._sender, lambda: transport.skew_us)
        figures = health(self._outbox, watched, delivery)
        self._targets = [*watched, AgentTarget(self._outbox, figures)]
        self._budget = Budget(figures)
        self._schedule = Schedule(
            self._targets,
            self._outbox,
            lambda metric, target: self._budget.refusal(metric, target, time.monotonic()),
            self.progress,
        )
        # What became of a document is told at once, and the interval of batches may be another one now.
        self._configuration = Configuration(
            settings.state_directory / "configuration.json", self._apply, self._outbox.due.set
        )
        self._assembler = Assembler(
            who.agent_id,
            self._outbox,
            self._spool,
            lambda: self._configuration.state,
            lambda: Clock(skew_us=transport.skew_us),
            self._changes.forget,
        )
        self._batcher = Batcher(
            self._assembler,
            self._outbox,
            lambda: self._configuration.document.upload_every_seconds,
            self.progress,
        )
        # Without a server there is nobody to ask: the last good document stays, or the built-in defaults.
        self._puller = Puller(self._configuration, server) if server else None
        self._renewer = _renewer(who, server)

    def start(self) -> None:
        """Collect and send from now on."""
        self._apply(self._configuration.document)
        self._schedule.start()
        for thread in (self._puller, self._renewer, self._batcher, self._sender):
            if thread:
                thread.start()
        watched = (target.name for target in self._targets if not isinstance(target, AgentTarget))
        log.info("watching %s", ", ".join(watched))

    def pull_now(self) -> None:
        """Ask the server for a newer configuration, where there is one."""
        if self._puller:
            self._puller.pull_now()

    def stop(self, wait_seconds: float = 0) -> None:
        """Spool what is in hand, and end; a request that is no batch is waited for so long."""
        asking = [thread for thread in (self._puller, self._renewer) if thread]
        for thread in asking:
            thread.stop()
        for thread in asking:
            thread.join(wait_seconds)
        self._schedule.stop()
        self._batcher.stop()
        self._sender.stop()
        for target in self._targets:
            target.close()
        self._spool.close()

    def _apply(self, document: Document) -> None:
        self._changes.full_every_seconds = document.full_every_seconds
        for target in self._targets:
            target.apply(document)
        self._budget.apply(document)
        self._schedule.apply(document)


def _renewer(who: Who, server: ServerClient | None) -> Renewer | None:
    if who.files is None or server is None:
        return None
    # cryptography: the agents that need none of it do without.
    from agent.identity.renewal import Renewer

    return Renewer(who.files, server)


def once(settings: Settings, document: Document) -> Batch:
    """One execution of every collector that the document has on, as the batch that would be sent.

    Raises:
        IdentityError: nothing says who this agent is.
    """
    agent_id = whoami(settings).agent_id
    outbox = Outbox()
    watched = targets(settings, Changes(), outbox, dict)
    watched.append(AgentTarget(outbox, health(outbox, watched)))
    try:
        for target in watched:
            target.apply(document)
            for collector in target.collectors():
                if document.interval(collector.metric.name) is not None:
                    target.collect(collector)
    finally:
        for target in watched:
            target.close()
    contents = outbox.take()
    return Batch(
        agent_id=agent_id,
        stream_id=uuid4(),
        seq=0,
        sent_at=time.time_ns() // 1000,
        agent_version=__version__,
        frames=contents.frames,
        runs=contents.runs,
        gaps=contents.gaps,
    )
