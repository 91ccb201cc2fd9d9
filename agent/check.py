"""Looks at everything the agent needs, and says what is missing and how to mend it, a line each."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from uuid import UUID

from urllib3.exceptions import HTTPError

from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Query
from agent.identity.files import IdentityError
from agent.identity.whoami import Who, whoami
from agent.lines import withheld
from agent.logs.errors import LogUnreadableError
from agent.logs.follow import matching
from agent.postgres.connection import SessionError
from agent.postgres.session import Session
from agent.settings import ServerSettings, Settings, SettingsError, TargetSettings
from agent.transports.choice import chosen
from agent.transports.http import ServerClient
from agent.transports.objects import Signed, Signer
from agent.transports.outcome import Later, Upload
from agent.transports.tokens import TokenError
from contracts.batch import Status
from contracts.document import DatabaseSettings
from contracts.metrics import Scope

#: Where the problem itself says how to mend it.
_OTHERWISE = "or choose another upload.transport"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is missing. Without something essential a metric or the way to the server is lost."""

    what: str
    problem: str
    mend: str
    essential: bool

    def __str__(self) -> str:
        return f"{'ERROR  ' if self.essential else 'WARNING'} {self.what}: {self.problem}; {self.mend}"


@dataclass(frozen=True, slots=True)
class Checked:
    """Who this agent is, if that can be said, and everything that is missing; nothing is, if there are no findings."""

    who: Who | None
    findings: list[Finding]

    @property
    def good(self) -> bool:
        return not any(finding.essential for finding in self.findings)

    def as_json(self) -> str:
        identity = self.who.identity if self.who else None
        enrolled = None
        if identity:
            days_left = round(identity.days_left(datetime.now(UTC)), 2)
            enrolled = {**identity.model_dump(mode="json", exclude={"audience"}), "days_left": days_left}
        findings = [asdict(finding) for finding in self.findings]
        return json.dumps({"ok": self.good, "enrolled": enrolled, "findings": findings})

    def __str__(self) -> str:
        lines = map(str, self.findings)
        if self.who is None:
            return "\n".join(lines)
        if self.who.identity is None:
            return "\n".join([f"{self.who.agent_id}, not enrolled", *lines])
        identity = self.who.identity
        until = f"{identity.not_after:%Y-%m-%d %H:%M} UTC, {identity.days_left(datetime.now(UTC)):.1f} days from now"
        who = f"{identity.agent_id}, enrolled at {identity.server}, with a certificate until {until}"
        return "\n".join([who, *lines])


def check(settings: Settings) -> Checked:
    """Look at everything."""
    who, found = None, list(_state(settings.state_directory))
    try:
        who = whoami(settings)
        found.extend(_certificate(who))
        found.extend(_way_out(settings, who))
    except IdentityError as error:
        found.append(Finding("identity", error.problem, error.mend, essential=True))
    for target in settings.targets:
        found += [*_target(target), *_log(target)]
    return Checked(who, found)


def _certificate(who: Who) -> Iterator[Finding]:
    if who.files is None or who.identity is None:
        return
    # cryptography: the agents that need none of it do without.
    from agent.identity.renewal import overdue

    left = who.identity.days_left(datetime.now(UTC))
    if left <= 0:
        yield Finding("identity", f"the certificate expired {-left:.1f} days ago", who.files.mend, essential=True)
    elif overdue(who.files):
        yield Finding(
            "identity",
            f"the certificate ends in {left:.1f} days and is not renewed",
            "see that the agent runs, and its log",
            essential=False,
        )


def _state(directory: Path) -> Iterator[Finding]:
    # os.access says no, and raises nothing, where a folder on the way may not be searched.
    nearest = next((path for path in (directory, *directory.parents) if os.access(path, os.F_OK)), Path("/"))
    if not os.access(nearest, os.W_OK | os.X_OK):
        yield Finding(
            "state_directory",
            f"{nearest} cannot be written",
            f"make {directory} and give it to the agent's user",
            essential=True,
        )


def _way_out(settings: Settings, who: Who) -> Iterator[Finding]:
    if settings.server is None and settings.upload.transport != "s3":
        yield Finding("server", "there is nowhere to send", "add [server] with url to agent.toml", essential=True)
        return
    server = None
    if settings.server is not None:
        try:
            server = ServerClient(settings.server, who.files)
        except SettingsError as error:
            yield Finding("server.ca_file", str(error), "name a PEM file with the server's authority", essential=True)
            return
        found = list(_server(settings.server, server))
        if found:
            yield from found
            return
    yield from _upload(settings, server)


def _upload(settings: Settings, server: ServerClient | None) -> Iterator[Finding]:
    try:
        way = chosen(settings, server)
    except SettingsError as error:
        yield Finding("upload", str(error), _OTHERWISE, essential=True)
        return
    if isinstance(way, Signer):
        # As far as can be seen without an object that nobody needs.
        signed = way.sign(Upload(bytes(1), UUID(int=0), 0, time.time_ns() // 1000))
        if not isinstance(signed, Signed):
            problem = signed.reason if isinstance(signed, Later) else signed.detail
            yield Finding("upload.transport", problem, _OTHERWISE, essential=True)


def _server(settings: ServerSettings, server: ServerClient) -> Iterator[Finding]:
    what = "identity" if settings.token_file is None else "server.token_file"
    try:
        answer = server.request("GET", "/v1/config")
    except TokenError as error:
        mend = (
            "see that the agent was not revoked, and that this host's clock goes right"
            if settings.token_file is None
            else "put the agent's access token there"
        )
        yield Finding(what, str(error), mend, essential=True)
    except HTTPError as error:
        mend = "see that the server runs there and that server.ca_file has its certificate authority"
        yield Finding("server.url", f"{settings.url} does not answer ({type(error).__name__})", mend, essential=True)
    else:
        if answer.status in {401, 403}:
            mend = "see the server's log" if settings.token_file is None else "issue a new one"
            yield Finding(what, f"the server refuses the token ({answer.status})", mend, essential=True)
        elif answer.status != 200:
            yield Finding(
                "server.url", f"{settings.url} answers {answer.status}", "see the server's log", essential=True
            )


def _target(target: TargetSettings) -> Iterator[Finding]:
    what = f"target {target.name}"
    session = Session(target.dsn)
    try:
        session.use()
        ((role, is_monitor, has_statements, preloaded, counts),) = session.rows("check")
        if not is_monitor:
            yield Finding(what, f"role {role} is not a monitor", f'grant pg_monitor to "{role}"', essential=True)
        if not counts:
            yield Finding(
                what,
                "track_counts is off: there are no statistics",
                "alter system set track_counts = on",
                essential=True,
            )
        if preloaded is not None and "pg_stat_statements" not in str(preloaded):
            mend = "alter system set shared_preload_libraries = pg_stat_statements, and restart the server"
            yield Finding(what, "pg_stat_statements is not loaded", mend, essential=False)
        elif not has_statements:
            yield Finding(
                what, "pg_stat_statements is not there", "create extension pg_stat_statements", essential=False
            )
        yield from _queries(what, session)
    except SessionError as error:
        mend = (
            "upgrade it, or take it out of the targets"
            if error.status is Status.UNSUPPORTED
            else "see that the server runs and that its pg_hba.conf admits the role"
        )
        yield Finding(what, f"{error.detail}", mend, essential=True)
    finally:
        session.close()


def _queries(what: str, session: Session) -> Iterator[Finding]:
    """Every query once: what a check by rights would miss shows when it is asked."""
    session.epoch("cluster")
    for collector in COLLECTORS:
        if isinstance(collector, Query):
            metric = collector.metric
            place = f"{what}, {session.database}" if metric.scope is Scope.DATABASE else what
            try:
                lines = collector.read(session, metric.at_most)
            except SessionError as error:
                if error.status is Status.UNSUPPORTED:
                    continue  # of an extension that is said above; what this server does not have nobody can mend
                mend = "grant pg_monitor to the role" if error.status is Status.PERMISSION else "see the server's log"
                yield Finding(place, f"{metric.name}: {error.detail}", mend, essential=True)
                continue
            right = collector.withheld
            if right and (without := withheld(metric, right.column, lines)):
                problem = f"{metric.name}: {without} of {len(lines)} are withheld"
                yield Finding(place, problem, f"grant {right.grant} to the role", essential=False)
    for database in session.databases():
        if database.name in DatabaseSettings().exclude:
            continue
        try:
            session.use(database.name)
        except SessionError as error:
            mend = f'grant connect on database "{database.name}" to the role, admit it in pg_hba.conf, or exclude it'
            yield Finding(f"{what}, database {database.name}", error.detail, mend, essential=False)


def _log(target: TargetSettings) -> Iterator[Finding]:
    if target.log is None:
        return
    for pattern in map(Path, target.log.files):
        what = f"target {target.name}, log.files"
        try:
            files = matching(pattern.parent, pattern.name)
        except LogUnreadableError as error:
            yield Finding(what, str(error), "or leave [targets.log] out", essential=True)
            continue
        if not files:
            yield Finding(
                what, f"no file matches {pattern}", "see log_directory and log_filename of the server", essential=True
            )
        for file in files:
            if not os.access(file, os.R_OK):
                mend = "add the agent's user to the group that owns it, and set log_file_mode = 0640"
                yield Finding(what, f"{file} cannot be read", mend, essential=True)
                break
