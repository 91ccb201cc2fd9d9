"""The configuration document: what agents collect, how often, within which bounds."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints

from contracts.limits import BIGINT_MAX
from contracts.metrics import CATALOGUE, METRICS
from contracts.presets import PRESETS, STANDARD, Preset
from contracts.version import __version__

#: The highest cap of rows of one reading.
MOST_ROWS = 100_000

Seconds = Annotated[int, Field(strict=True, ge=1, le=86_400)]
Cap = Annotated[int, Field(strict=True, ge=1, le=MOST_ROWS)]

Share = Annotated[float, Field(strict=True, gt=0, le=1)]

#: Severities of a log's entries, the least first. LOG is what goes on as it should; DEBUG1 to DEBUG5 are one.
SEVERITIES = ("debug", "log", "info", "notice", "warning", "error", "fatal", "panic")

# A set that is closed, as fnmatch reads it: a bracket at its beginning is one of its characters.
_SET = re.compile(r"\[!?+\]?+[^\]]*+\]")


def _one_of(names: Iterable[str]) -> AfterValidator:
    known = tuple(names)

    def check(value: str) -> str:
        # Refused, and with it the whole document: what another word means, this version would have to guess.
        if value not in known:
            raise ValueError(f"version {__version__} knows {', '.join(known)}, not {value!r}")
        return value

    return AfterValidator(check)


def _matching(pattern: str) -> str:
    if "\0" in pattern:
        raise ValueError("no name has a NUL in it")
    if "[" in _SET.sub("", pattern):
        raise ValueError(f"{pattern!r} has a [ that no ] closes; for the character itself write [[]")
    return pattern


def _some(patterns: tuple[str, ...]) -> tuple[str, ...]:
    if not patterns:
        raise ValueError("at least one pattern is needed; '*' takes every database")
    return patterns


#: A pattern as `fnmatch` has it, which some name of a database could match.
Pattern = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(_matching)]


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
    """Which databases are looked into, by patterns: `*` is any characters, `?` is one, `[a-c]` one of these."""

    include: Annotated[tuple[Pattern, ...], AfterValidator(_some), Field(json_schema_extra={"minItems": 1})] = ("*",)
    """Patterns of the databases to look into: `*` is any characters, `?` is one, `[a-c]` one of these."""
    exclude: tuple[Pattern, ...] = ("template0", "template1", "rdsadmin", "cloudsqladmin", "azure_maintenance")
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


class LogSettings(_Section):
    """Which entries of the servers' logs are sent."""

    least_severity: Annotated[str, _one_of(SEVERITIES), Field(json_schema_extra={"enum": list(SEVERITIES)})] = "debug"
    """The least severity that is sent; `log`, which has the slow statements, is below `warning`."""
    at_most_per_minute: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = None
    """Entries of one server in a minute at most; the run says how many more there were. Null is no bound."""


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
    preset: Annotated[str, _one_of(PRESETS), Field(json_schema_extra={"enum": list(PRESETS)})] = STANDARD
    """Which metrics are collected, how often and with which caps, unless `metrics` says otherwise."""
    metrics: dict[str, MetricSettings] = {}
    """What is said of metrics, by their names; an agent ignores names that it does not know."""
    databases: DatabaseSettings = DatabaseSettings()
    """Which databases are looked into."""
    logs: LogSettings = LogSettings()
    """Which entries of the servers' logs are sent."""
    budget: BudgetSettings = BudgetSettings()
    """What the agent may take."""

    @property
    def _preset(self) -> Preset:
        return PRESETS[self.preset]

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
