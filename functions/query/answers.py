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
