"""Agents that have gone silent are counted, and the figures told where a deployment has a name for them."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from functions.maintenance.fleet import Counted, count
from functions.maintenance.handler import handler
from functions.store import Connection, Store
from infra.standalone.schedule import MaintenanceContext

NOW = datetime(2026, 1, 31, tzinfo=UTC)


def _enrol(connection: Connection, agent_id: str, ago: timedelta, revoked: bool = False) -> None:
    at = NOW - ago
    connection.execute(
        "insert into identity.enrolment (id, token_sha256, created_at, created_by, expires_at, uses)"
        " values ('e', 'x', %s, 'ann', %s, 9) on conflict do nothing",
        (at, at),
    )
    connection.execute(
        "insert into identity.agent (agent_id, enrolled_at, enrolment_id, revoked_at) values (%s, %s, 'e', %s)",
        (agent_id, at, NOW if revoked else None),
    )


def _hear(connection: Connection, agent_id: str, ago: timedelta) -> None:
    at = NOW - ago
    connection.execute(
        "insert into store.agent values (%s, %s, %s, '1', 0, null, 'applied', null, 0)", (agent_id, at, at)
    )


def test_who_is_enrolled_and_not_heard_of_is_silent(store: Store, connection: Connection) -> None:
    assert count(store, NOW) == Counted(0, 0)
    day, minute = timedelta(days=1), timedelta(minutes=1)
    for name, heard in (("talks", minute), ("stopped", 9 * minute), ("gone-long-ago", 99 * day)):
        _enrol(connection, name, 100 * day)
        _hear(connection, name, heard)
    _enrol(connection, "never-began", 2 * day)
    _enrol(connection, "about-to-begin", minute)
    _enrol(connection, "revoked", 100 * day, revoked=True)
    _hear(connection, "revoked", 50 * day)
    _hear(connection, "talks-without-enrolment", minute)
    _hear(connection, "stopped-without-enrolment", 6 * day)
    _hear(connection, "forgotten-without-enrolment", 8 * day)
    assert count(store, NOW) == Counted(agents=7, silent=4)


@pytest.mark.usefixtures("deployed")
def test_the_figures_are_told_to_cloudwatch_under_the_deployment(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _enrol(connection, "never-began", timedelta(days=2))
    monkeypatch.setenv("PGANALYTICS_DEPLOYMENT", "fleet-1")
    handler({"task": "fleet"}, MaintenanceContext())
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (told["Deployment"], told["Agents"], told["SilentAgents"]) == ("fleet-1", [1.0], [1.0])
    (directive,) = told["_aws"]["CloudWatchMetrics"]
    assert (directive["Namespace"], directive["Dimensions"]) == ("pgAnalytics", [["Deployment"]])


@pytest.mark.usefixtures("deployed")
def test_elsewhere_they_are_a_line_of_the_log_alone(capsys: pytest.CaptureFixture[str]) -> None:
    assert handler({"task": "fleet"}, MaintenanceContext()) == {"task": "fleet", "agents": 0, "silent": 0}
    assert "_aws" not in capsys.readouterr().out
