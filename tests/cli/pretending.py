"""A server on a real socket that keeps documents and releases as contracts/configuration.py says, in memory."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import BaseModel, ValidationError
from typer.testing import CliRunner, Result

from cli.main import app
from contracts.configuration import (
    AgentConfiguration,
    Change,
    Diff,
    DocumentAsked,
    DocumentVersion,
    Explained,
    LabelsAsked,
    Release,
    ReleaseAsked,
    ReleaseEvent,
    RollbackAsked,
)
from contracts.overlay import canonical, leaves, merge
from tests.agent.door import Answer, Asked, Door, door, problem

NOW = datetime(2026, 3, 29, 1, 30, tzinfo=UTC)
PAGE = 2


def command(*arguments: object, server: str | None = None, **environment: str) -> Result:
    """Run `pganalytics`, calling this server with a token."""
    called = {"PGANALYTICS_SERVER": server, "PGANALYTICS_TOKEN": "a-token"} if server else {}
    kept = {"PGANALYTICS_TOKEN_FILE": None, "PGANALYTICS_CA": None, "COLUMNS": "200"}
    return CliRunner().invoke(app, [str(each) for each in arguments], env={**kept, **called, **environment})


@dataclass
class Pretended:
    """What the server has.

    `meanwhile` is called once, before the next change is made: another operator's turn. `looked` is what becomes of a
    release with each look at it, and `away` says of each whether nobody answers.
    """

    versions: dict[str, list[DocumentVersion]] = field(default_factory=dict)
    releases: list[Release] = field(default_factory=list)
    agents: list[AgentConfiguration] = field(default_factory=list)
    labels: dict[str, dict[str, str]] = field(default_factory=dict)
    meanwhile: Callable[[], object] = lambda: None
    looked: Callable[[Release], Release] = lambda release: release
    away: Iterator[bool] = field(default_factory=lambda: iter(()))
    changes: list[tuple[str, str, Any]] = field(default_factory=list)
    door: Door | None = None

    @property
    def url(self) -> str:
        assert self.door is not None
        return self.door.url

    def save(self, scope: str, asked: DocumentAsked, author: str = "bob") -> DocumentVersion:
        before = self.versions.setdefault(scope, [])
        group = asked.group or (before[-1].group if before else None)
        saved = DocumentVersion(
            scope=scope,
            version=len(before) + 1,
            revision=sum(map(len, self.versions.values())) + 1,
            sha256=hashlib.sha256(canonical(asked.document).encode()).hexdigest(),
            author=author,
            comment=asked.comment,
            created_at=NOW,
            activated_at=NOW if asked.activate else None,
            live=asked.activate,
            group=group,
            document=asked.document,
        )
        if asked.activate:
            before[:] = [each.model_copy(update={"live": False}) for each in before]
        before.append(saved)
        return saved

    def release(self, asked: ReleaseAsked) -> Release:
        begun = Release(
            id=len(self.releases) + 1,
            scope=asked.scope,
            from_version=1,
            to_version=asked.version or len(self.versions[asked.scope]),
            stages=list(asked.stages),
            stage=0,
            stage_since_at=NOW,
            bake_seconds=asked.bake_seconds,
            gates=asked.gates,
            state="running",
            reason=None,
            created_by="alice",
            created_at=NOW,
            ended_at=None,
            comment=asked.comment,
            agents=200,
            touched=0,
            events=[ReleaseEvent(at=NOW, event="started", stage=0, actor="alice", detail={"to": 2})],
        )
        self.releases.append(begun)
        return begun

    def answer(self, asked: Asked) -> Answer:
        parts = urlsplit(asked.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        assert asked.headers["Authorization"] == "Bearer a-token"
        body = json.loads(asked.body) if asked.body else None
        if asked.method != "GET":
            self.changes.append((asked.method, parts.path, body))
            turn, self.meanwhile = self.meanwhile, lambda: None
            turn()
        for method, pattern, respond in self._routes():
            match = re.fullmatch(pattern, unquote(parts.path))
            if match and method == asked.method:
                try:
                    return respond(match.groups(), query, body, asked)
                except ValidationError as error:
                    return problem(422, str(error))
        return problem(404, "there is no such route")

    def _routes(self) -> list[tuple[str, str, Callable[[tuple[str, ...], dict[str, str], Any, Asked], Answer]]]:
        scope = r"/v1/documents/([^/]+)"
        return [
            ("GET", "/v1/documents", lambda _, query, *__: _page(self._scopes(), query)),
            ("GET", scope, lambda found, *_: self._document(found[0])),
            ("PUT", scope, lambda found, _, body, asked: self._put(found[0], body, asked)),
            ("GET", f"{scope}/versions", lambda found, query, *_: self._versions(found[0], query)),
            ("GET", rf"{scope}/versions/(\d+)", lambda found, *_: self._version(found[0], found[1])),
            ("GET", f"{scope}/diff", lambda found, query, *_: self._diff(found[0], query)),
            ("POST", f"{scope}/rollback", lambda found, _, body, asked: self._roll_back(found[0], body, asked)),
            ("GET", "/v1/configuration", lambda _, query, *__: self._fleet(query)),
            ("GET", r"/v1/agents/([^/]+)/configuration", lambda found, *_: self._explained(found[0])),
            ("PUT", r"/v1/agents/([^/]+)/labels", lambda found, _, body, __: self._label(found[0], body)),
            ("GET", "/v1/releases", lambda _, query, *__: _page([*reversed(self.releases)], query)),
            ("POST", "/v1/releases", lambda _, __, body, ___: self._start(body)),
            ("GET", r"/v1/releases/(\d+)", lambda found, *_: self._look(found[0])),
            ("POST", r"/v1/releases/(\d+)/(pause|resume|abort)", lambda found, *_: self._move(found[0], found[1])),
        ]

    def _scopes(self) -> list[DocumentVersion]:
        return [
            each
            for _, versions in sorted(self.versions.items())
            for each in reversed(versions)
            if each.live or each is versions[-1]
        ]

    def _document(self, scope: str) -> Answer:
        if scope not in self.versions:
            return problem(404, f"{scope} has no version")
        return _json(self.versions[scope][-1])

    def _put(self, scope: str, body: Any, asked: Asked) -> Answer:
        document = DocumentAsked.model_validate(body)
        return self._refused(scope, asked, activate=document.activate) or _json(self.save(scope, document, "alice"))

    def _refused(self, scope: str, asked: Asked, *, activate: bool) -> Answer | None:
        there = self.versions.get(scope, [])
        tag = f'"{len(there)}"'
        if asked.headers["If-Match"] not in {None, tag} or (asked.headers["If-None-Match"] and there):
            return problem(412, f"{scope} has version {len(there)}; send If-Match: {tag}")
        if there and asked.headers["If-Match"] is None:
            return problem(428, "send If-Match")
        if activate and any(each.state in {"running", "paused"} and each.scope == scope for each in self.releases):
            return problem(409, f"release 1 of {scope} is running: wait for its end, or abort it")
        return None

    def _versions(self, scope: str, query: dict[str, str]) -> Answer:
        return _page([*reversed(self.versions[scope])], query)

    def _version(self, scope: str, number: str) -> Answer:
        found = [each for each in self.versions.get(scope, []) if each.version == int(number)]
        return _json(found[0]) if found else problem(404, f"{scope} has no version {number}")

    def _diff(self, scope: str, query: dict[str, str]) -> Answer:
        there = self.versions[scope]
        to = int(query.get("to", len(there)))
        of = int(query.get("from", next((each.version for each in there if each.live), 0)))
        after, before = leaves(there[to - 1].document), leaves(there[of - 1].document) if of else {}
        keys = sorted({*before, *after})
        changes = [Change(key=key, before=before.get(key), after=after.get(key)) for key in keys]
        changes = [each for each in changes if each.before != each.after]
        return _json(Diff(scope=scope, from_version=of, to_version=to, changes=changes))

    def _roll_back(self, scope: str, body: Any, asked: Asked) -> Answer:
        wanted = RollbackAsked.model_validate(body)
        if refused := self._refused(scope, asked, activate=True):
            return refused
        older = self.versions[scope][wanted.version - 1]
        again = DocumentAsked(document=older.document, group=older.group, comment=wanted.comment)
        return _json(self.save(scope, again, "alice"))

    def _fleet(self, query: dict[str, str]) -> Answer:
        counts = dict.fromkeys(("current", "behind", "rejected", "silent", "unknown"), 0)
        for each in self.agents:
            counts[each.state] += 1
        items = [each for each in self.agents if query.get("state") in {None, each.state}]
        return _page(items, query, counts=counts)

    def _explained(self, agent: str) -> Answer:
        if agent not in self.labels:
            return problem(404, f"there is no agent {agent}")
        saved = [each for scope in ("fleet", f"agent:{agent}") for each in self.versions.get(scope, []) if each.live]
        merged = merge([(each.scope, each.document) for each in saved])
        return _json(
            Explained(
                agent_id=agent,
                version=max((each.revision for each in saved), default=0),
                etag='"x"',
                labels=self.labels[agent],
                scopes=[each.scope for each in saved],
                document=merged.document.model_dump(mode="json"),
                origins=dict(merged.origins),
            )
        )

    def _label(self, agent: str, body: Any) -> Answer:
        self.labels[agent] = dict(LabelsAsked.model_validate(body).labels)
        return self._explained(agent)

    def _start(self, body: Any) -> Answer:
        asked = ReleaseAsked.model_validate(body)
        if any(each.state in {"running", "paused"} and each.scope == asked.scope for each in self.releases):
            return problem(409, f"release 1 of {asked.scope} is running: wait for its end, or abort it")
        return _json(self.release(asked), 201)

    def _look(self, id: str) -> Answer:
        if next(self.away, False):
            return problem(503, "the store is not available")
        if int(id) > len(self.releases):
            return problem(404, f"there is no release {id}")
        self.releases[int(id) - 1] = self.looked(self.releases[int(id) - 1])
        return _json(self.releases[int(id) - 1])

    def _move(self, id: str, what: str) -> Answer:
        states = {"pause": ("running", "paused"), "resume": ("paused", "running"), "abort": (None, "aborted")}
        before, after = states[what]
        found = self.releases[int(id) - 1]
        if before not in {None, found.state}:
            return problem(409, f"release {id} is {found.state}: only one that is {before} can be {after}")
        self.releases[int(id) - 1] = found.model_copy(update={"state": after})
        return _json(self.releases[int(id) - 1])


def _json(answer: BaseModel, status: int = 200) -> Answer:
    tag = {"ETag": f'"{answer.version}"'} if isinstance(answer, DocumentVersion) else {}
    return Answer(status, {"Content-Type": "application/json", **tag}, answer.model_dump_json().encode())


def _page(items: list[Any], query: dict[str, str], **more: object) -> Answer:
    # Small pages, whatever is asked for: the client has to go on from one to the next.
    start, size = int(query.get("cursor", 0)), min(PAGE, int(query["limit"]))
    rest = start + size < len(items)
    page = {
        "items": [each.model_dump(mode="json") for each in items[start : start + size]],
        "next": str(start + size) if rest else None,
        **more,
    }
    return Answer(200, {"Content-Type": "application/json"}, json.dumps(page).encode())


@contextmanager
def pretending() -> Iterator[Pretended]:
    server = Pretended()
    with door(lambda asked: server.answer(asked)) as opened:
        server.door = opened
        yield server
