"""Stages of a release: which agents they have, the same for ever."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from contracts.configuration import BUCKETS, Stage, bucket, in_stage, reached

_STAGE: TypeAdapter[str] = TypeAdapter(Stage)


def test_a_bucket_is_of_the_name_alone() -> None:
    assert bucket("db-1") == int(hashlib.sha256(b"db-1").hexdigest()[:16], 16) % 10_000
    assert (bucket("db-1"), bucket("db-117")) == (487, 199)


@given(st.from_regex(r"[a-z0-9._-]{1,64}", fullmatch=True))
def test_shares_only_grow(agent_id: str) -> None:
    shares = ["0%", "0.01%", "0.25%", "1%", "10%", "99.99%", "100%"]
    has = [in_stage(share, agent_id, {}) for share in shares]
    assert has == sorted(has)
    assert (has[0], has[-1]) == (False, True)
    assert in_stage("0.25%", agent_id, {}) is (bucket(agent_id) < 25)


def test_a_share_has_about_so_many_agents() -> None:
    agents = [f"db-{number}" for number in range(10_000)]
    for percent in (1, 10, 50):
        found = sum(in_stage(f"{percent}%", agent, {}) for agent in agents)
        assert abs(found - percent * 100) < 200
    assert len({bucket(agent) for agent in agents}) > BUCKETS / 2


@pytest.mark.parametrize(
    ("stage", "labels", "has"),
    [
        ("canary", {"canary": "true"}, True),
        ("canary", {"canary": "false"}, False),
        ("canary", {}, False),
        ("label:tier=gold", {"tier": "gold"}, True),
        ("label:tier=gold", {"tier": "Gold"}, False),
        ("label:a/b.c=d.e", {"a/b.c": "d.e"}, True),
        ("label:tier=gold", {}, False),
    ],
)
def test_a_stage_of_labels_has_who_has_them(stage: str, labels: dict[str, str], has: bool) -> None:
    assert _STAGE.validate_python(stage) == stage
    assert in_stage(stage, "db-1", labels) is has


def test_stages_add_up_and_the_first_that_has_an_agent_counts() -> None:
    stages = ("canary", "label:tier=gold", "100%")
    canary = {"canary": "true", "tier": "gold"}
    assert [reached(stages, stage, "db-1", canary) for stage in range(3)] == [0, 0, 0]
    assert [reached(stages, stage, "db-1", {"tier": "gold"}) for stage in range(3)] == [None, 1, 1]
    assert [reached(stages, stage, "db-1", {}) for stage in range(3)] == [None, None, 2]


@pytest.mark.parametrize("stage", ["101%", "-1%", "1.005%", "1", "canaries", "label:tier", "label:=x", "1%\n", "%"])
def test_what_is_no_stage_is_refused(stage: str) -> None:
    with pytest.raises(ValidationError):
        _STAGE.validate_python(stage)
