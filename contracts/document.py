"""The configuration document: what agents collect, how often, within which bounds."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, model_validator

from contracts.limits import BIGINT_MAX
from contracts.metrics import CATALOGUE, METRICS
from contracts.presets import PRESETS, STANDARD, Preset
from contracts.version import __version__

#: The highest cap of rows of one reading.
MOST_ROWS = 100_000

Seconds = Annotated[int, Field(strict=True, ge=1, le=86_400)]
Cap = Annotated[int, Field(strict=True, ge=1, le=MOST_ROWS)]

Share = Annotated[float, Field(strict=True, gt=0, le=1)]


class _Section(BaseModel):
    # The one document that an old agent reads from a newer server: what it does not know, it ignores.
    model_config = ConfigDict(frozen=True, extra="ignore", use_attribute_docstrings=True)


class MetricSettings(_Section):
    """What an operator may say of one metric; what is left out keeps the preset's default."""

    enabled: bool | None = None
    """Whether it is collected at all; null leaves it to the preset."""
    every_seconds: Seconds | None = None
    """Time between two readings; null keeps the preset's."""
    at_most: Cap | None = None
    """Rows of one reading at most, the busiest; null keeps the preset's. Metrics without a cap ignore it."""


class DatabaseSettings(_Section):
    """Which databases are looked into, by patterns in which `*` and `?` stand for any characters and for one."""

    include: Annotated[tuple[str, ...], Field(json_schema_extra={"minItems": 1})] = ("*",)
    """Patterns of the databases to look into."""
    exclude: tuple[str, ...] = ("template0", "template1", "rdsadmin", "cloudsqladmin", "azure_maintenance")
    """Patterns of those to leave out; they win over `include`."""

    at_most: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 100
    """How many databases are looked into, in the order of their names."""


class BudgetSettings(_Section):
    """What the agent may take; over that it leaves metrics out in a declared order, and says so in their runs."""

    cpu_share: Share | None = 0.05
    """Share of one processor core that the agent's process may take; null is no bound."""
    database_share: Share | None = 0.05
    """Share of its time that a target may spend in the agent's queries; null is no bound."""
    upload_bytes_per_hour: Annotated[int, Field(strict=True, ge=1, le=BIGINT_MAX)] | None = 100_000_000
    """Bytes of batches that the agent may make, compressed; null is no bound."""


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
    # Not an enum: to an old agent a preset of the future is no reason to refuse the rest.
    preset: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,62}$", json_schema_extra={"enum": list(PRESETS)})] = (
        STANDARD
    )
    """Which metrics are collected, how often and with which caps, unless `metrics` says otherwise."""
    metrics: dict[str, MetricSettings] = {}
    """What is said of metrics, by their names; an agent ignores names that it does not know."""
    databases: DatabaseSettings = DatabaseSettings()
    """Which databases are looked into."""
    budget: BudgetSettings = BudgetSettings()
    """What the agent may take."""

    @model_validator(mode="after")
    def _at_least_one_pattern(self) -> Document:
        if not self.databases.include:
            raise ValueError("databases.include: at least one pattern is needed; '*' takes every database")
        return self

    @property
    def _preset(self) -> Preset:
        return PRESETS.get(self.preset, PRESETS[STANDARD])

    @property
    def left_to_default(self) -> str | None:
        """What this version does not know in it, and what it does instead; None where it knows everything."""
        if self.preset in PRESETS:
            return None
        return f"preset: {self.preset!r} is not known to version {__version__}, {STANDARD!r} stands for it"

    def interval(self, metric: str) -> int | None:
        """Seconds between two readings of the metric; None if it is switched off."""
        said, preset = self.metrics.get(metric, MetricSettings()), self._preset
        if not (preset.has(metric) if said.enabled is None else said.enabled):
            return None
        return said.every_seconds or preset.every.get(metric) or CATALOGUE[metric].every_seconds

    def at_most(self, metric: str) -> int | None:
        """How many rows one reading of the metric has at most; None where the metric has no cap."""
        cap = CATALOGUE[metric].at_most
        said = self.metrics.get(metric, MetricSettings()).at_most
        return cap and (said or min(cap * self._preset.caps, MOST_ROWS))

    def intervals(self) -> dict[str, int]:
        """Seconds between two readings of every metric that is on."""
        return {m.name: every for m in METRICS if (every := self.interval(m.name)) is not None}


class VersionedDocument(_Section):
    """What `GET /v1/config` answers. Version 0 is the built-in defaults, before anybody saved a document."""

    version: Annotated[int, Field(strict=True, ge=0)] = 0
    """Counts up with every document that is saved."""
    document: Document = Document()
