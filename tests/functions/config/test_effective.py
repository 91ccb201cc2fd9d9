"""Which version of each scope an agent is given, and in which order they win."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import pytest

from contracts.configuration import bucket
from functions.config.agents import everyone, known, labelled
from functions.config.answer import answer
from functions.config.effective import Agent, Given, Saved, Standing, Underway, given, of_agent, of_all, of_scope
from functions.store import Connection
from tests.functions.config.api import PRODUCTION, begin_release, obeys, save

_REVISIONS = itertools.count(1)


def _agent(agent_id: str = "db-1", **labels: str) -> Agent:
    return Agent(agent_id, labels)


def _saved(scope: str, version: int = 1, priority: int | None = None, **selector: str) -> Saved:
    return Saved(scope, version, next(_REVISIONS), "{}", selector or None, priority)


def _release(saved: Saved, *stages: str, stage: int = 0) -> Underway:
    return Underway(7, saved, stages, stage)


def _scopes(standings: list[Standing], agent: Agent) -> list[str]:
    return [each.saved.scope for each in given(standings, agent) if each.saved]


def test_fleet_then_groups_by_priority_and_name_then_the_agent() -> None:
    standings = [
        Standing("agent:db-1", _saved("agent:db-1")),
        Standing("group:b", _saved("group:b", priority=5, tier="gold")),
        Standing("group:a", _saved("group:a", priority=5, tier="gold")),
        Standing("group:z", _saved("group:z", priority=1, tier="gold")),
        Standing("fleet", _saved("fleet")),
    ]
    for order in itertools.permutations(standings):
        found = _scopes(list(order), _agent(tier="gold"))
        assert found == ["fleet", "group:z", "group:a", "group:b", "agent:db-1"]


@pytest.mark.parametrize(
    ("labels", "has"),
    [
        ({"environment": "production", "tier": "gold"}, True),
        ({"environment": "production", "tier": "gold", "canary": "true"}, True),
        ({"environment": "production"}, False),
        ({"environment": "test", "tier": "gold"}, False),
        ({}, False),
    ],
)
def test_a_group_has_the_agents_with_all_of_its_labels(labels: Mapping[str, str], has: bool) -> None:
    saved = _saved("group:web", environment="production", tier="gold")
    assert Standing("group:web", saved).has(Agent("db-1", labels)) is has


def test_another_agents_scope_is_none_of_its_own() -> None:
    assert _scopes([Standing("agent:db-2", _saved("agent:db-2"))], _agent("db-1")) == []


def test_a_release_gives_its_version_to_the_stages_begun_and_the_live_one_to_all_others() -> None:
    live, new = _saved("fleet", 1), _saved("fleet", 2)
    canary, other = _agent("db-1", canary="true"), _agent("db-2")
    first = Standing("fleet", live, _release(new, "canary", "100%"))
    assert first.given(canary) == Given(new, 7, 0)
    assert first.given(other) == Given(live)
    second = Standing("fleet", live, _release(new, "canary", "100%", stage=1))
    assert second.given(canary) == Given(new, 7, 0)
    assert second.given(other) == Given(new, 7, 1)


def test_a_share_has_the_agents_of_the_lowest_buckets() -> None:
    live, new = _saved("fleet", 1), _saved("fleet", 2)
    agents = [_agent(f"db-{number}") for number in range(1000)]
    for share in (0, 1, 10, 100):
        standing = Standing("fleet", live, _release(new, f"{share}%"))
        reached = {agent.agent_id for agent in agents if standing.given(agent) == Given(new, 7, 0)}
        assert reached == {agent.agent_id for agent in agents if bucket(agent.agent_id) < share * 100}


def test_the_first_version_of_a_scope_may_come_by_a_release() -> None:
    standing = Standing("fleet", None, _release(_saved("fleet"), "canary"))
    assert standing.given(_agent(canary="true")) is not None
    assert standing.given(_agent()) is None


def test_only_agents_of_the_scope_count_to_a_release() -> None:
    live, new = _saved("group:web", 1, tier="gold"), _saved("group:web", 2, tier="gold")
    standing = Standing("group:web", live, _release(new, "100%"))
    assert standing.given(_agent(tier="lead")) is None
    assert not standing.has(_agent(tier="lead"))


def test_a_release_may_change_whom_a_group_has() -> None:
    live, new = _saved("group:web", 1, tier="gold"), _saved("group:web", 2, tier="lead")
    standing = Standing("group:web", live, _release(new, "canary"))
    assert standing.given(_agent(tier="lead", canary="true")) == Given(new, 7, 0)
    assert standing.given(_agent(tier="lead")) is None
    assert standing.given(_agent(tier="gold", canary="true")) == Given(None, 7, 0)
    assert standing.given(_agent(tier="gold")) == Given(live)


def test_the_version_is_the_greatest_revision_that_has_a_say() -> None:
    first, second = _saved("agent:db-1"), _saved("fleet")
    assert answer([Given(second), Given(first)]).version == second.revision
    assert answer([Given(None, 7, 0)]).version == answer([]).version == 0


def test_the_tag_is_of_the_version_and_of_the_content() -> None:
    bodies = ((1, "{}"), (2, "{}"), (1, '{"pull_every_seconds": 61}'))
    tags = {answer([Given(Saved("fleet", 1, revision, body))]).etag for revision, body in bodies}
    assert len(tags) == 3
    assert {tag.partition("-")[0] for tag in tags} == {'"1', '"2'}
    assert answer([Given(Saved("fleet", 1, 1, "{}"))]) == answer([Given(Saved("fleet", 9, 1, "{}"))])


@pytest.mark.usefixtures("deployed")
def test_what_stands_is_read_as_it_was_saved(connection: Connection) -> None:
    save("fleet", {"preset": "minimal"})
    save("fleet", {"preset": "rds"}, activate=False)
    save("group:a", {}, group=PRODUCTION)
    save("group:b", {}, group=PRODUCTION, activate=False)
    save("agent:db-1", {})
    save("agent:db-2", {})
    number = begin_release(connection, "fleet", 2, "paused", ("canary", "50%"), 1)
    fleet = of_scope(connection, "fleet")
    assert fleet.live == Saved("fleet", 1, 1, '{"preset": "minimal"}')
    assert fleet.release == Underway(number, Saved("fleet", 2, 2, '{"preset": "rds"}'), ("canary", "50%"), 1)
    group = of_scope(connection, "group:a")
    assert group == Standing("group:a", Saved("group:a", 1, 3, "{}", {"environment": "production"}, 100))
    assert of_scope(connection, "group:b") == Standing("group:b", None)
    assert of_scope(connection, "group:c") == Standing("group:c", None)
    found = {each.scope: each for each in of_agent(connection, "db-1")}
    assert found == {"fleet": fleet, "group:a": group, "agent:db-1": of_scope(connection, "agent:db-1")}
    assert {each.scope for each in of_all(connection)} == {*found, "agent:db-2"}


@pytest.mark.usefixtures("deployed")
def test_labels_of_operators_stand_in_the_place_of_those_of_the_enrolment(connection: Connection) -> None:
    connection.execute(
        """
        insert into identity.enrolment (id, token_sha256, created_at, created_by, expires_at, uses)
        values ('e', 'x', now(), 'ann', now(), 1);
        insert into identity.agent (agent_id, enrolled_at, enrolment_id, labels, revoked_at) values
            ('db-1', now(), 'e', '{"tier": "gold"}', null),
            ('db-2', now(), 'e', '{"tier": "gold"}', null),
            ('db-3', now(), 'e', '{"tier": "gold"}', now());
        insert into store.agent_labels values ('db-2', '{"canary": "true"}');
        """
    )
    obeys("db-4")
    expected = [Agent("db-1", {"tier": "gold"}), Agent("db-2", {"canary": "true"}), Agent("db-4", {})]
    assert everyone(connection) == expected
    assert [labelled(connection, each.agent_id) for each in expected] == expected
    assert [known(connection, name) for name in ("db-1", "db-3", "db-4", "db-5")] == [True, True, True, False]
