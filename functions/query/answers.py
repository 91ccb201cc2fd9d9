"""What the query function answers. Instants are RFC 3339; a target's id is a string, for it exceeds 53 bits."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, BeforeValidator, Field

Id = Annotated[str, BeforeValidator(str), Field(pattern=r"^[0-9]+$")]
Next = Annotated[str | None, Field(description="Cursor of the next page; null on the last.")]


class Agent(BaseModel):
    """An agent, and what its last batch said of it."""

    agent_id: str
    first_seen_at: AwareDatetime
    last_seen_at: AwareDatetime
    agent_version: str
    config_version: int
    config_etag: str | None
    config_state: str
    config_reason: str | None
    clock_skew_us: int | None


class Target(BaseModel):
    """A target, and what is known of its server or of its host."""

    id: Id
    agent_id: str
    name: str
    first_seen_at: AwareDatetime
    last_seen_at: AwareDatetime
    hostname: str | None
    os: str | None
    server_version: str | None
    server_version_num: int | None
    system_identifier: str | None
    cluster_name: str | None
    port: int | None
    in_recovery: bool | None


class Run(BaseModel):
    """The last execution of one collector in one database, or in none."""

    collector: str
    datid: int | None
    started_at: AwareDatetime
    duration_us: int
    status: str
    sqlstate: str | None
    rows: int
    rows_available: int | None
    detail: str | None


class TargetDetail(Target):
    """A target with the last run of each collector, of the day before it was last seen."""

    runs: list[Run]


class Agents(BaseModel):
    """Agents by id."""

    items: list[Agent]
    next: Next


class Targets(BaseModel):
    """Targets by id."""

    items: list[Target]
    next: Next


class Readings(BaseModel):
    """Rows of one metric in order of time, database and key; their columns are the catalogue's."""

    items: list[dict[str, Any]]
    next: Next


class Covered(BaseModel):
    """A stretch in which readings follow one another closely enough."""

    from_at: AwareDatetime
    to_at: AwareDatetime


class Reason(BaseModel):
    """Why there are no readings: of which part of the stretch this is known, and what."""

    reason: Annotated[
        str,
        Field(
            description="gap: told as lost; quarantined: cannot be loaded; in_flight: a batch is not loaded yet; "
            "missing: a batch never came; unreachable: collectors ran and failed; before_first, after_last: the target "
            "was not seen before, or since; not_running: nothing is missing, and nothing was read."
        ),
    ]
    detail: str | None
    from_at: AwareDatetime
    to_at: AwareDatetime


class Uncovered(BaseModel):
    """A stretch without readings, and why."""

    from_at: AwareDatetime
    to_at: AwareDatetime
    reasons: list[Reason]


class TargetCoverage(BaseModel):
    """Covered and uncovered stretches of one target: together they are what was asked for, with no overlap."""

    id: Id
    name: str
    covered_share: Annotated[float, Field(ge=0, le=1)]
    covered: list[Covered]
    uncovered: list[Uncovered]


class Coverage(BaseModel):
    """What an agent's targets are covered for; readings may be `reach_seconds` apart."""

    agent_id: str
    from_at: AwareDatetime
    to_at: AwareDatetime
    reach_seconds: float
    targets: list[TargetCoverage]


class Health(BaseModel):
    """The store answers."""

    status: str = "ok"
    store: str = "ok"
    schema_: Annotated[str, Field(alias="schema", description="Version of the store's schema.")]
    last_batch_seconds: Annotated[
        float | None, Field(description="Since the newest batch was closed by its agent; null before the first.")
    ]


class Version(BaseModel):
    """The version of this code."""

    version: str
