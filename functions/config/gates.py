"""The gates of a release: what was measured of the agents that were given the new version, against its limits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from contracts.configuration import Gates

#: So many agents are named; of the others only the number is told.
MOST_NAMES = 20


@dataclass(frozen=True, slots=True)
class Share:
    """How many of so many agents; the first of them by name, and why each is among them, where that can be said."""

    count: int
    of: int
    agents: tuple[str, ...] = ()
    why: Mapping[str, str] = field(default_factory=dict)

    @property
    def figure(self) -> float:
        return self.count / self.of if self.of else 0.0

    def told(self, limit: float | None) -> dict[str, Any]:
        """As the events of a release have it."""
        found = {"figure": round(self.figure, 4), "limit": limit, "count": self.count, "of": self.of}
        return found | {"agents": list(self.agents)} | ({"why": dict(self.why)} if self.why else {})


@dataclass(frozen=True, slots=True)
class Times:
    """How many times as much as before: the median of the agents of which it is known; the worst, if over the limit."""

    median: float
    of: int
    count: int = 0
    agents: tuple[str, ...] = ()

    def told(self, limit: float | None) -> dict[str, Any]:
        """As the events of a release have it."""
        found = {"figure": round(self.median, 3), "limit": limit, "count": self.count, "of": self.of}
        return found | {"agents": list(self.agents)}


@dataclass(frozen=True, slots=True)
class Figures:
    """What one look found. What could not be measured, or has no gate, is None.

    `given` is of agents that were ever given the version, `applied` of those that said that they obey it; `waiting`
    are those of the stage that are alive and have said neither yes nor no. At `settled_at` all but the last few that
    came with this stage had been given it; None while nobody has.
    """

    given: int
    applied: int
    settled_at: datetime | None
    waiting: Share
    errors: Share
    missing: Share | None
    agent_cpu: Times | None = None
    db_time: Times | None = None

    def told(self, gates: Gates) -> dict[str, Any]:
        """As the events of a release have it."""
        found: dict[str, Any] = {"given": self.given, "applied": self.applied, "waiting": self.waiting.told(None)}
        for name, limit in gates:
            of = getattr(self, name)
            found[name] = of.told(limit) if of else None
        return found


@dataclass(frozen=True, slots=True)
class Failure:
    """A gate that has failed; `reason` is what an operator is told, `detail` the same for a program."""

    gate: str
    reason: str
    detail: Mapping[str, Any]


_SHARES = {
    "errors": "refused the document, or have collectors that fail as they did not before",
    "missing": "have gone silent",
}
_TIMES = {
    "agent_cpu": "processor time of the agent",
    "db_time": "time in the databases",
}


def failed(gates: Gates, figures: Figures) -> Failure | None:
    """The first gate whose limit is exceeded, if any."""
    for gate, what in _SHARES.items():
        share, limit = getattr(figures, gate), getattr(gates, gate)
        if share is not None and share.figure > limit:
            found = f"{share.count} of {share.of} agents ({share.figure:.1%}) {what}; the limit is {limit:.2%}"
            return _failure(gate, found, share, limit)
    for gate, what in _TIMES.items():
        times, limit = getattr(figures, gate), getattr(gates, gate)
        if times is not None and limit is not None and times.median > limit:
            found = f"{what} is {times.median:.1f} times what it was, the median of {times.of} agents"
            return _failure(gate, f"{found}; the limit is {limit:g} times", times, limit)
    return None


def _failure(gate: str, found: str, figure: Share | Times, limit: float) -> Failure:
    more = figure.count - len(figure.agents)
    names = ", ".join(figure.agents) + (f" and {more} more" if more > 0 else "")
    return Failure(gate, f"{gate}: {found}: {names}", {"gate": gate, **figure.told(limit)})
