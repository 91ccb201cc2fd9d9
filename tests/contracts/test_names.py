"""The number of a target is computed, the same everywhere, and fits PostgreSQL's bigint."""

from __future__ import annotations

import subprocess
import sys

import pytest
from hypothesis import given, settings
from pydantic import TypeAdapter, ValidationError

from contracts.names import HOST_TARGET, AgentId, TargetName, target_id
from tests.contracts.strategies import names

_NAMES: tuple[TypeAdapter[str], ...] = (TypeAdapter(AgentId), TypeAdapter(TargetName))


def test_the_number_never_changes() -> None:
    # The store's facts carry these numbers: another function would orphan them.
    assert target_id("db-117", "main") == 5773685910126381533


@given(names, names)
@settings(max_examples=200, deadline=None)
def test_the_number_has_63_bits(agent: str, target: str) -> None:
    assert 0 <= target_id(agent, target) < 2**63
    assert target_id(agent, target) == target_id(agent, target)


def test_the_number_is_the_same_in_another_process() -> None:
    code = "from contracts.names import target_id; print(target_id('db-117', 'host'))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(found.stdout) == target_id("db-117", HOST_TARGET)


def test_targets_of_a_large_fleet_differ() -> None:
    found = {target_id(f"db-{agent}", target) for agent in range(5000) for target in ("host", "main", "main2")}
    assert len(found) == 15_000
    assert target_id("a", "b-c") != target_id("a-b", "c")


@given(names)
@settings(max_examples=100, deadline=None)
def test_names_that_are_safe_everywhere_are_taken(name: str) -> None:
    assert all(adapter.validate_python(name) == name for adapter in _NAMES)


@pytest.mark.parametrize(
    "name",
    ["", "A", "a b", "a/b", "-a", "a-", ".a", "..", "a.", "a\n", "é", "a" * 65, "a\0", "a=b", "a%2fb"],
    ids=ascii,
)
def test_other_names_are_refused(name: str) -> None:
    for adapter in _NAMES:
        with pytest.raises(ValidationError):
            adapter.validate_python(name)


def test_the_host_is_a_name_like_any_other() -> None:
    assert all(adapter.validate_python(HOST_TARGET) == "host" for adapter in _NAMES)
