"""The configuration document: what agents collect, how often, within which bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.metrics import CATALOGUE, METRICS

Seconds = Annotated[int, Field(strict=True, ge=1, le=86_400)]


class _Section(BaseModel):
    # The one document that an old agent reads from a newer server: what it does not know, it ignores.
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class MetricSettings(_Section):
    """What an operator may say of one metric; what is left out keeps the catalogue's default."""

    enabled: bool = True
    """Whether it is collected at all."""
    every_seconds: Seconds | None = None
    """Time between two readings; null keeps the metric's own."""
    at_most: Annotated[int, Field(strict=True, ge=1, le=100_000)] | None = None
    """Rows of one reading at most, the busiest; null keeps the metric's own. Metrics without a cap ignore it."""


class DatabaseSettings(_Section):
    """Which databases are looked into, by patterns in which `*` and `?` stand for any characters and for one."""

    include: Annotated[tuple[str, ...], Field(json_schema_extra={"minItems": 1})] = ("*",)
    """Patterns of the databases to look into."""
    exclude: tuple[str, ...] = ("template0", "template1", "rdsadmin", "cloudsqladmin", "azure_maintenance")
    """Patterns of those to leave out; they win over `include`."""

    at_most: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 100
    """How many databases are looked into, in the order of their names."""


class Document(_Section):
    """One configuration, complete: every field has a default."""

    model_config = ConfigDict(title="pgAnalytics configuration document")

    pull_every_seconds: Seconds = 60
    """How often an agent asks for a newer document."""
    upload_every_seconds: Annotated[int, Field(strict=True, ge=1, le=3600)] = 60
    """How often what was collected becomes a batch."""
    full_every_seconds: Annotated[int, Field(strict=True, ge=60, le=3600)] = 3600
    """How often metrics that travel as changes travel in full."""
    statement_timeout_ms: Annotated[int, Field(strict=True, ge=10, le=600_000)] = 5_000
    """Limit of one query on a target."""
    metrics: dict[str, MetricSettings] = {}
    """What is said of metrics, by their names; an agent ignores names that it does not know."""
    databases: DatabaseSettings = DatabaseSettings()
    """Which databases are looked into."""

    @model_validator(mode="after")
    def _at_least_one_pattern(self) -> Document:
        if not self.databases.include:
            raise ValueError("databases.include: at least one pattern is needed; '*' takes every database")
        return self

    def interval(self, metric: str) -> int | None:
        """Seconds between two readings of the metric; None if it is switched off."""
        settings = self.metrics.get(metric, MetricSettings())
        if not settings.enabled:
            return None
        return settings.every_seconds or CATALOGUE[metric].every_seconds

    def at_most(self, metric: str) -> int | None:
        """How many rows one reading of the metric has at most; None where the metric has no cap."""
        cap = CATALOGUE[metric].at_most
        return cap and (self.metrics.get(metric, MetricSettings()).at_most or cap)

    def intervals(self) -> dict[str, int]:
        """Seconds between two readings of every metric that is on."""
        return {m.name: every for m in METRICS if (every := self.interval(m.name)) is not None}


class VersionedDocument(_Section):
    """What `GET /v1/config` answers. Version 0 is the built-in defaults, before anybody saved a document."""

    version: Annotated[int, Field(strict=True, ge=0)] = 0
    """Counts up with every document that is saved."""
    document: Document = Document()
