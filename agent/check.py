"""Looks at everything the agent needs, and says what is missing and how to mend it, a line each."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from uuid import UUID

from urllib3.exceptions import HTTPError

from agent.collectors.catalogue import COLLECTORS
from agent.collectors.collector import Query
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
from contracts.batch import Status
from contracts.document import DatabaseSettings
from contracts.metrics import Scope

#: The oldest server that is watched.
_OLDEST_MAJOR = 14

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


def check(settings: Settings) -> list[Finding]:
    """Everything that is missing; nothing is, if the list is empty."""
    found = [*_state(settings.state_directory), *_way_out(settings)]
    for target in settings.targets:
        found += [*_target(target), *_log(target)]
    return found


def as_json(findings: list[Finding]) -> str:
    essential = any(finding.essential for finding in findings)
    return json.dumps({"ok": not essential, "findings": [asdict(finding) for finding in findings]})


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


def _way_out(settings: Settings) -> Iterator[Finding]:
    if settings.server is None and settings.upload.transport != "s3":
        yield Finding(
            "server", "there is nowhere to send", "add [server] with url and token_file to agent.toml", essential=True
        )
        return
    found = list(_server(settings.server)) if settings.server else []
    yield from found or _upload(settings)


def _upload(settings: Settings) -> Iterator[Finding]:
    try:
        way = chosen(settings, ServerClient(settings.server) if settings.server else None)
    except SettingsError as error:
        yield Finding("upload", str(error), _OTHERWISE, essential=True)
        return
    if isinstance(way, Signer):
        # As far as can be seen without an object that nobody needs.
        signed = way.sign(Upload(bytes(1), UUID(int=0), 0, time.time_ns() // 1000))
        if not isinstance(signed, Signed):
            problem = signed.reason if isinstance(signed, Later) else signed.detail
            yield Finding("upload.transport", problem, _OTHERWISE, essential=True)


def _server(settings: ServerSettings) -> Iterator[Finding]:
    try:
        answer = ServerClient(settings).request("GET", "/v1/config")
    except SettingsError as error:
        yield Finding("server.ca_file", str(error), "name a PEM file with the server's authority", essential=True)
    except OSError as error:
        yield Finding(
            "server.token_file",
            f"{settings.token_file}: {error.strerror}",
            "put the agent's access token there",
            essential=True,
        )
    except HTTPError as error:
        mend = "see that the server runs there and that server.ca_file has its certificate authority"
        yield Finding("server.url", f"{settings.url} does not answer ({type(error).__name__})", mend, essential=True)
    else:
        if answer.status in {401, 403}:
            yield Finding(
                "server.token_file",
                f"the server refuses the token ({answer.status})",
                "issue a new one",
                essential=True,
            )
        elif answer.status != 200:
            yield Finding(
                "server.url", f"{settings.url} answers {answer.status}", "see the server's log", essential=True
            )


def _target(target: TargetSettings) -> Iterator[Finding]:
    what = f"target {target.name}"
    session = Session(target.dsn)
    try:
        session.use()
        ((version, version_num, role, is_monitor, has_statements, preloaded, counts),) = session.rows("check")
        if version_num // 10_000 < _OLDEST_MAJOR:
            yield Finding(
                what, f"PostgreSQL {version} is not watched", f"upgrade to {_OLDEST_MAJOR} or newer", essential=True
            )
            return
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
        yield Finding(
            what, f"{error.detail}", "see that the server runs and that its pg_hba.conf admits the role", essential=True
        )
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
