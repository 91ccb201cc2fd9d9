"""What fails a gate, and how that is told."""

from __future__ import annotations

import pytest

from contracts.configuration import Gates
from functions.config.gates import Figures, Share, Times, failed


def _figures(**found: Share | Times | None) -> Figures:
    fine: dict[str, Share | Times | None] = {"errors": Share(0, 10), "missing": Share(0, 10)}
    return Figures(given=10, applied=10, settled_at=None, waiting=Share(0, 10), **{**fine, **found})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("found", "limits", "fails"),
    [
        ({"errors": Share(1, 100)}, {}, None),
        ({"errors": Share(2, 100)}, {}, "errors"),
        ({"errors": Share(1, 10)}, {"errors": 0.1}, None),
        ({"errors": Share(0, 0), "missing": Share(0, 0)}, {"errors": 0, "missing": 0}, None),
        ({"errors": Share(1, 1)}, {"errors": 1}, None),
        ({"missing": Share(3, 100)}, {}, "missing"),
        ({"missing": None}, {"missing": 0}, None),
        ({"agent_cpu": Times(2.0, 5)}, {}, None),
        ({"agent_cpu": Times(2.1, 5)}, {}, "agent_cpu"),
        ({"agent_cpu": Times(99.0, 5)}, {"agent_cpu": None}, None),
        ({"db_time": Times(1.6, 5)}, {"db_time": 1.5}, "db_time"),
        ({"errors": Share(9, 10), "db_time": Times(9, 5)}, {}, "errors"),
    ],
)
def test_a_gate_fails_above_its_limit(
    found: dict[str, Share | Times | None], limits: dict[str, float | None], fails: str | None
) -> None:
    failure = failed(Gates.model_validate(limits), _figures(**found))
    assert (failure and failure.gate) == fails


def test_the_reason_names_gate_figure_limit_and_agents() -> None:
    names = tuple(f"db-{number:02}" for number in range(20))
    failure = failed(Gates(), _figures(errors=Share(25, 200, names, {"db-00": "refused: x"})))
    assert failure is not None
    assert failure.reason == (
        "errors: 25 of 200 agents (12.5%) refused the document, or have collectors that fail as they did not before; "
        f"the limit is 1.00%: {', '.join(names)} and 5 more"
    )
    assert failure.detail == {
        "gate": "errors",
        "figure": 0.125,
        "limit": 0.01,
        "count": 25,
        "of": 200,
        "agents": [*names],
        "why": {"db-00": "refused: x"},
    }


def test_a_figure_of_times_is_told_with_the_worst() -> None:
    failure = failed(Gates(), _figures(agent_cpu=Times(2.5, 4, 3, ("c", "a", "b"))))
    assert failure is not None
    assert failure.reason == (
        "agent_cpu: processor time of the agent is 2.5 times what it was, the median of 4 agents; "
        "the limit is 2 times: c, a, b"
    )
