"""Whatever was saved, taken back, labelled and released, in whatever order: agents get what follows from all of it."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass, field
from typing import Any

import pytest

from contracts.configuration import in_stage
from contracts.document import Document, VersionedDocument
from functions.store import Connection
from tests.functions.config.api import ask, begin_release, poll, told

pytestmark = pytest.mark.usefixtures("deployed")

AGENTS = ("db-1", "db-2", "db-3")
SCOPES = ("agent:db-1", "agent:db-2", "fleet", "group:a", "group:b", "group:c")
LABELS: tuple[dict[str, str], ...] = ({}, {"tier": "gold"}, {"tier": "gold", "canary": "true"}, {"canary": "true"})
STAGES = (("canary", "100%"), ("label:tier=gold", "50%", "100%"), ("50%",))
STEPS = 250


@dataclass
class Version:
    document: dict[str, Any]
    group: dict[str, Any] | None
    active: bool
    revision: int


@dataclass
class Release:
    id: int
    version: Version
    stages: tuple[str, ...]
    stage: int = 0


@dataclass
class World:
    """All that was done, in the plainest form, and what follows from it."""

    versions: dict[str, list[Version]] = field(default_factory=lambda: {scope: [] for scope in SCOPES})
    labels: dict[str, dict[str, str]] = field(default_factory=lambda: {agent: {} for agent in AGENTS})
    releases: dict[str, Release] = field(default_factory=dict)
    revision: int = 0

    def save(self, scope: str, document: dict[str, Any], group: dict[str, Any] | None, active: bool) -> None:
        self.revision += 1
        self.versions[scope].append(Version(document, group, active, self.revision))

    def expected(self, agent: str) -> VersionedDocument:
        given = []
        for scope in SCOPES:
            version = self._given(scope, agent)
            if version and self._has(scope, version, agent):
                kind = ("fleet", "group", "agent").index(scope.partition(":")[0])
                given.append((kind, version.group["priority"] if version.group else 0, scope, version))
        document: dict[str, Any] = {}
        for *_, version in sorted(given, key=lambda each: each[:3]):
            document |= version.document
        revision = max((version.revision for *_, version in given), default=0)
        return VersionedDocument(version=revision, document=Document.model_validate(document))

    def _given(self, scope: str, agent: str) -> Version | None:
        live = next((version for version in reversed(self.versions[scope]) if version.active), None)
        release = self.releases.get(scope)
        if release and any(each and self._has(scope, each, agent) for each in (live, release.version)):
            begun = release.stages[: release.stage + 1]
            if any(in_stage(stage, agent, self.labels[agent]) for stage in begun):
                return release.version
        return live

    def _has(self, scope: str, version: Version, agent: str) -> bool:
        if version.group:
            return all(self.labels[agent].get(name) == value for name, value in version.group["selector"].items())
        return scope in {"fleet", f"agent:{agent}"}


class Walk:
    """One thing after another, as the dice have it, in the store and in the world."""

    def __init__(self, seed: int, connection: Connection) -> None:
        self.dice = random.Random(seed)
        self.connection = connection
        self.world = World()
        self.seen: dict[str, tuple[str, VersionedDocument]] = {}

    def step(self) -> None:
        self.dice.choice((self.save, self.save, self.roll_back, self.label, self.release, self.release_on))()

    def save(self) -> None:
        scope = self.dice.choice(SCOPES)
        keys = self.dice.sample(("upload_every_seconds", "pull_every_seconds", "full_every_seconds"), 2)
        asked: dict[str, Any] = {
            "document": {key: self.dice.randint(60, 90) for key in keys[: self.dice.randint(0, 2)]}
        }
        before = self.world.versions[scope][-1:]
        group = before[0].group if before else None
        if scope.startswith("group:") and (group is None or self.dice.random() < 0.5):
            group = {"selector": self.dice.choice(LABELS[1:]), "priority": self.dice.randint(0, 2)}
            asked["group"] = group
        asked["activate"] = self.dice.random() < 0.6
        answer = ask("PUT", f"/v1/documents/{scope}", asked, self._seen_all(scope))
        if asked["activate"] and scope in self.world.releases:
            assert answer["statusCode"] == 409
            return
        assert answer["statusCode"] == 200, answer["body"]
        self.world.save(scope, asked["document"], group, asked["activate"])

    def roll_back(self) -> None:
        scope = self.dice.choice(SCOPES)
        saved = self.world.versions[scope]
        if not saved:
            return
        number = self.dice.randint(1, len(saved))
        answer = ask("POST", f"/v1/documents/{scope}/rollback", {"version": number}, self._seen_all(scope))
        if scope in self.world.releases:
            assert answer["statusCode"] == 409
            return
        assert answer["statusCode"] == 200, answer["body"]
        self.world.save(scope, saved[number - 1].document, saved[number - 1].group, True)

    def _seen_all(self, scope: str) -> dict[str, str]:
        saved = self.world.versions[scope]
        return {"if-match": f'"{len(saved)}"'} if saved else {"if-none-match": "*"}

    def label(self) -> None:
        agent, labels = self.dice.choice(AGENTS), self.dice.choice(LABELS)
        told("PUT", f"/v1/agents/{agent}/labels", {"labels": labels})
        self.world.labels[agent] = labels

    def release(self) -> None:
        drafts = [scope for scope, saved in self.world.versions.items() if saved and not saved[-1].active]
        scopes = [scope for scope in drafts if scope not in self.world.releases]
        if not scopes:
            return
        scope = self.dice.choice(scopes)
        saved = self.world.versions[scope]
        stages = self.dice.choice(STAGES)
        number = begin_release(self.connection, scope, len(saved), stages=stages)
        self.world.releases[scope] = Release(number, saved[-1], stages)

    def release_on(self) -> None:
        """The next stage, or a pause, or the end, good or bad."""
        if not self.world.releases:
            return
        scope = self.dice.choice(sorted(self.world.releases))
        release = self.world.releases[scope]
        state = self.dice.choice(("running", "running", "paused", "done", "halted"))
        if state == "running" and release.stage + 1 < len(release.stages):
            release.stage += 1
        if state in {"done", "halted"}:
            del self.world.releases[scope]
        with self.connection.transaction():
            self.connection.execute(
                "update store.release set (state, stage) = (%s, %s) where id = %s", (state, release.stage, release.id)
            )
            if state == "done":
                release.version.active = True
                self.connection.execute(
                    "update store.document set activated_at = now() where revision = %s", (release.version.revision,)
                )

    def poll(self, agent: str) -> None:
        etag, before = self.seen.get(agent, (None, None))
        answer, expected = poll(agent, etag), self.world.expected(agent)
        if expected == before:
            assert answer["statusCode"] == 304
        else:
            assert answer["statusCode"] == 200
            assert VersionedDocument.model_validate_json(answer["body"]) == expected
            self.seen[agent] = (answer["headers"]["ETag"], expected)
        explained = told("GET", f"/v1/agents/{agent}/configuration")
        assert explained["etag"] == answer["headers"]["ETag"] == self.seen[agent][0]
        assert explained["document"] == json.loads(expected.model_dump_json())["document"]


@pytest.mark.parametrize("seed", range(4))
def test_the_answer_is_what_all_that_was_done_makes_of_it(seed: int, connection: Connection) -> None:
    walk = Walk(seed, connection)
    for agent in AGENTS:
        walk.poll(agent)
    for _ in range(STEPS):
        walk.step()
        for agent in walk.dice.sample(AGENTS, walk.dice.randint(0, 2)):
            walk.poll(agent)
    for agent in AGENTS:
        walk.poll(agent)
    done = walk.world
    assert done.revision > STEPS / 4
    reached = "select count(distinct release_id) > 5 and count(*) > 10 from store.release_agent"
    assert connection.execute(reached).fetchone() == (True,)
