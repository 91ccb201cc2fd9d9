"""Makes this host's agent one of the fleet: a key of its own, and a certificate in exchange for an enrolment token."""

from __future__ import annotations

import errno
import os
import pwd
import re
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import urllib3
from pydantic import TypeAdapter, ValidationError
from urllib3.exceptions import HTTPError

from agent.held import HeldFolder
from agent.identity.certificates import keep, own_key, request
from agent.identity.files import Files, Identity, IdentityError
from agent.identity.signing import generate
from agent.settings import ServerSettings, Settings, SettingsError
from agent.transports.connection import Line, problem
from contracts.codec import explain
from contracts.names import AgentId

_TOKEN = re.compile(rb"pge_[A-Za-z0-9_-]{43}")

#: No token is longer; whatever else is given in its place is not read to its end.
_MOST_BYTES = 1000

_AGENT_ID: TypeAdapter[str] = TypeAdapter(AgentId)


@dataclass(frozen=True, slots=True)
class Plan:
    """As whom to enrol, and where."""

    agent_id: str
    server: ServerSettings
    files: Files


@dataclass(frozen=True, slots=True)
class Outcome:
    """Who this agent is now; `already`: it was before, and nothing was done."""

    identity: Identity
    already: bool = False


def plan(settings: Settings, url: str | None, agent_id: str | None, ca_file: Path | None) -> Plan:
    """What settings and options say together; the name is the host's where neither says one.

    Raises:
        SettingsError: something is missing, or is not what it is to be; the message names it.
    """
    declared = settings.server
    if url is None and declared is None:
        raise SettingsError("server: it is not known where to enrol; give --server URL, or add [server] to agent.toml")
    if None not in {agent_id, settings.agent_id} and agent_id != settings.agent_id:
        raise SettingsError(f"--agent-id: agent.toml says {settings.agent_id}; leave the option out")
    name = agent_id or settings.agent_id or socket.gethostname().partition(".")[0].lower()
    try:
        server = ServerSettings(
            url=url or (declared.url if declared else ""), ca_file=ca_file or (declared.ca_file if declared else None)
        )
        return Plan(_AGENT_ID.validate_python(name), server, Files(settings.state_directory))
    except ValidationError as error:
        what = "--server" if error.title == ServerSettings.__name__ else f"--agent-id {name!r}"
        raise SettingsError(f"{what}: {explain(error)}") from None


def read_token(path: Path) -> str:
    """The enrolment token in a file, or on standard input for `-`.

    Raises:
        IdentityError: there is none; the message does not repeat what is there.
    """
    try:
        if str(path) == "-":
            found = sys.stdin.buffer.read(_MOST_BYTES)
        else:
            with path.open("rb") as file:
                found = file.read(_MOST_BYTES)
    except OSError as error:
        raise IdentityError(
            f"--token-file {path}: {error.strerror}", "name the file with the enrolment token"
        ) from error
    if not _TOKEN.fullmatch(found.strip()):
        raise IdentityError(
            f"--token-file {path}: there is no enrolment token in it", "it is to have one, pge_..., and nothing else"
        )
    return found.strip().decode()


def enrol(plan: Plan, token: Callable[[], str]) -> Outcome:
    """Enrol this host, unless it is. An enrolment that was interrupted is taken up again with the key it made.

    Raises:
        IdentityError: the server refuses, does not answer, or there is something wrong with the disk.
    """
    files = plan.files
    if done := _already(files):
        return done
    _see_that_the_agent_can_use_it(files)
    folder = HeldFolder(files.folder)
    try:
        folder.take()
        try:
            return _already(files) or _enrolled(plan, token())
        finally:
            folder.release()
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise IdentityError(f"{files.folder}: another enrolment is under way", "wait for its end") from error
        raise IdentityError(f"{files.folder}: {error.strerror}", "let this account write there") from error


def _already(files: Files) -> Outcome | None:
    identity = files.identity()
    good = identity is not None and identity.days_left(datetime.now(UTC)) > 0
    return Outcome(identity, already=True) if identity and good else None


def _see_that_the_agent_can_use_it(files: Files) -> None:
    """What root makes in a folder of the agent's account, the agent could not read."""
    for folder in (files.folder, files.folder.parent):
        try:
            owner = folder.stat().st_uid
        except OSError:
            continue
        if owner != os.geteuid():
            try:
                name = pwd.getpwuid(owner).pw_name
            except KeyError:
                name = f"#{owner}"
            raise IdentityError(f"{folder} is {name}'s", f"say it as that account: runuser --user={name} -- ...")
        return


def _enrolled(plan: Plan, token: str) -> Outcome:
    files = plan.files
    files.folder.chmod(0o700)
    if not files.has_key():
        files.keep_key(generate())
    key = own_key(files)
    line = Line(plan.server.url, plan.server.ca_file)
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    try:
        answer = line.ask("POST", "/v1/agents", headers, request(key, plan.agent_id))
    except HTTPError as error:
        raise IdentityError(
            f"{line.url} does not answer ({type(error).__name__}: {error})"[:500],
            "see that the server runs there, and that server.ca_file or --ca-file has its certificate authority",
        ) from error
    if answer.status != 201:
        # Whoever answers may repeat what it was sent.
        said = (problem(answer) or answer.reason or "").replace(token, "...")
        raise IdentityError(f"{line.url} does not enrol {plan.agent_id} ({answer.status}): {said}", _mend(answer))
    return Outcome(keep(answer, files, key, plan.agent_id, line.url))


def _mend(answer: urllib3.BaseHTTPResponse) -> str:
    if answer.status in {401, 403}:
        return "ask whoever runs the server for a new enrolment token"
    if answer.status == 409:
        return "take another --agent-id, or a token that is made for this agent"
    return "see the server's log"
