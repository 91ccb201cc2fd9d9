"""What operators say of configuration: documents in their scopes, their versions, and releases in stages."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from contracts.identity import Labels
from contracts.limits import BIGINT_MAX
from contracts.names import AgentId
from contracts.overlay import Scope

Version = Annotated[int, Field(strict=True, ge=1, le=BIGINT_MAX)]
Comment = Annotated[str, StringConstraints(max_length=500, pattern=r"^[^\x00]*$")]

#: A stage: `canary` (agents labelled canary=true), `label:NAME=VALUE`, or the share of agents `N%` by their buckets.
Stage = Annotated[
    str,
    StringConstraints(
        pattern=r"^(canary|label:[a-z0-9][a-z0-9._/-]{0,62}=[A-Za-z0-9][A-Za-z0-9._-]{0,62}|(100|[0-9]{1,2}(\.[0-9]{1,2})?)%)$"
    ),
]

#: Buckets that agents fall into by the hash of their names: a share of `N%` is those below N hundred.
BUCKETS = 10_000


def bucket(agent_id: str) -> int:
    """The bucket that an agent falls into, from 0: the same for ever, whoever else is in the fleet."""
    return int.from_bytes(hashlib.sha256(agent_id.encode()).digest()[:8]) % BUCKETS


def in_stage(stage: str, agent_id: str, labels: Mapping[str, str]) -> bool:
    """Whether a stage has this agent, with these labels."""
    if stage == "canary":
        return labels.get("canary") == "true"
    if stage.startswith("label:"):
        name, _, value = stage.removeprefix("label:").partition("=")
        return labels.get(name) == value
    return bucket(agent_id) < Decimal(stage.removesuffix("%")) * (BUCKETS // 100)


def reached(stages: Sequence[str], stage: int, agent_id: str, labels: Mapping[str, str]) -> int | None:
    """The first stage, from 0, that has this agent, of those up to `stage`; None if none has."""
    begun = enumerate(stages[: stage + 1])
    return next((number for number, each in begun if in_stage(each, agent_id, labels)), None)


class _Asked(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Answer(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class Group(_Asked):
    """Which agents a group has: those with all of these labels. Of two groups the higher priority wins."""

    selector: Annotated[Labels, Field(min_length=1)]
    priority: Annotated[int, Field(strict=True, ge=0, le=1000)] = 100


class DocumentAsked(_Asked):
    """A new version of a scope's document. Not activated, it waits for a release."""

    document: dict[str, Any]
    group: Group | None = None
    comment: Comment = ""
    activate: Annotated[bool, Field(strict=True)] = True


class DocumentVersion(_Answer):
    """One immutable version: numbered in its scope; `revision` counts over all scopes: agents report it."""

    scope: Scope
    version: Version
    revision: int
    sha256: str
    author: str
    comment: str
    created_at: AwareDatetime
    activated_at: AwareDatetime | None
    live: bool
    group: Group | None
    document: dict[str, Any]


class DocumentVersions(_Answer):
    """A page of versions, the newest first."""

    items: list[DocumentVersion]
    next: str | None = None


class Change(_Answer):
    """One key that differs between two versions; what is not there is null."""

    key: str
    before: Any
    after: Any


class Diff(_Answer):
    """What differs between two versions of a scope."""

    scope: Scope
    from_version: int
    to_version: int
    changes: list[Change]


class RollbackAsked(_Asked):
    """An earlier version to have again: its content becomes the newest version."""

    version: Version
    comment: Comment = ""


class Fault(_Answer):
    """What is wrong with one key of a document."""

    key: str
    message: str


class Checked(_Answer):
    """Whether a document could be saved; `faults` says why not."""

    ok: bool
    faults: list[Fault]


class Explained(_Answer):
    """The configuration of one agent: the merged document, and the scope that each key has its value from."""

    agent_id: AgentId
    version: int
    etag: str
    labels: dict[str, str]
    scopes: list[str]
    document: dict[str, Any]
    origins: dict[str, str]


class AgentConfiguration(_Answer):
    """What one agent is to obey and what it says that it obeys.

    `state`: current, behind (it has not reported the newest yet), rejected, silent (no batch for a while), unknown (it
    was enrolled, and never seen).
    """

    agent_id: AgentId
    state: Literal["current", "behind", "rejected", "silent", "unknown"]
    version: int
    reported_version: int | None
    reason: str | None
    last_seen_at: AwareDatetime | None


class FleetConfiguration(_Answer):
    """A page of agents by id, and how many of the whole fleet are in each state."""

    items: list[AgentConfiguration]
    counts: dict[str, int]
    next: str | None = None


class LabelsAsked(_Asked):
    """An agent's labels, in the place of all that it had."""

    labels: Labels


class Gates(_Asked):
    """What a stage may show before it fails. Shares of the agents touched; `x` is against the time before, per agent.

    `errors`: agents that refused the document, or whose collectors fail as they did not before. `missing`: agents that
    have gone silent. `agent_cpu`, `db_time`: how many times as much as before, as the median of the agents.
    """

    errors: Annotated[float, Field(ge=0, le=1)] = 0.01
    missing: Annotated[float, Field(ge=0, le=1)] = 0.02
    agent_cpu: Annotated[float, Field(ge=1, le=100)] | None = 2.0
    db_time: Annotated[float, Field(ge=1, le=100)] | None = 2.0


class ReleaseAsked(_Asked):
    """A release of a saved version over its scope: the newest that is not live, unless told."""

    scope: Scope = "fleet"
    version: Version | None = None
    stages: Annotated[tuple[Stage, ...], Field(min_length=1, max_length=20)] = ("canary", "1%", "10%", "100%")
    bake_seconds: Annotated[int, Field(strict=True, ge=1, le=7 * 86400)] = 600
    gates: Gates = Gates()
    comment: Comment = ""


ReleaseState = Literal["running", "paused", "halted", "aborted", "done"]


class ReleaseEvent(_Answer):
    """What happened to a release, when, by whom, and why."""

    at: AwareDatetime
    event: str
    stage: int
    actor: str
    detail: dict[str, Any]


class Release(_Answer):
    """One release. `stage` counts from 0; `touched` are the agents that were ever given the new version."""

    id: int
    scope: Scope
    from_version: int
    to_version: int
    stages: list[str]
    stage: int
    stage_since_at: AwareDatetime
    bake_seconds: int
    gates: Gates
    state: ReleaseState
    reason: str | None
    created_by: str
    created_at: AwareDatetime
    ended_at: AwareDatetime | None
    comment: str
    agents: int
    touched: int
    events: list[ReleaseEvent] = Field(default_factory=list)


class Releases(_Answer):
    """A page of releases, the newest first."""

    items: list[Release]
    next: str | None = None
