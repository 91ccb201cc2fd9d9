"""Buckets stay the same for ever and are evenly filled, so that a share is that of any fleet."""

from __future__ import annotations

import math

import pytest

from contracts.configuration import BUCKETS, bucket, in_stage

FLEET = tuple(f"db-{number:05}.example.com" for number in range(20_000))


def test_an_agent_keeps_its_bucket() -> None:
    """These stand here for good: another hash would move the whole fleet."""
    kept = {"db-1": 487, "db-2": 942, "db-117": 199, "a": 2250, "warehouse.eu-1": 6943}
    assert {name: bucket(name) for name in kept} == kept


def test_buckets_are_evenly_filled() -> None:
    """By chi-squared, of 100 groups of buckets: the 99.9th percentile of 99 degrees of freedom is 148."""
    groups = [0] * 100
    for name in FLEET:
        groups[bucket(name) * 100 // BUCKETS] += 1
    expected = len(FLEET) / 100
    assert sum((found - expected) ** 2 / expected for found in groups) < 148


@pytest.mark.parametrize("share", ["0.01%", "0.25%", "1%", "10%", "33.33%", "99.99%"])
def test_a_share_is_that_of_the_fleet(share: str) -> None:
    part = float(share.rstrip("%")) / 100
    found = sum(in_stage(share, name, {}) for name in FLEET)
    spread = math.sqrt(len(FLEET) * part * (1 - part))
    assert abs(found - len(FLEET) * part) < 4 * spread


def test_a_greater_share_has_all_agents_of_a_smaller_one() -> None:
    for smaller, greater in (("0.29%", "0.3%"), ("1%", "10%"), ("57%", "57.01%")):
        assert all(in_stage(greater, name, {}) for name in FLEET if in_stage(smaller, name, {}))


def test_a_bucket_is_in_a_share_exactly() -> None:
    by_bucket = {bucket(name): name for name in FLEET}
    for edge in (1, 29, 57, 58, 100, 115, 1000, 5700):
        inside, outside = by_bucket.get(edge - 1), by_bucket.get(edge)
        assert inside is None or in_stage(f"{edge / 100:g}%", inside, {})
        assert outside is None or not in_stage(f"{edge / 100:g}%", outside, {})
