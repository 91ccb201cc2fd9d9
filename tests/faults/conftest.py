"""Fixtures of the stories in which everything fails."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.counting import Survived
from tests.faults.lab import Lab, lab
from tests.nursery import Nursery
from tests.nursery import nursery as shared_nursery


@pytest.fixture
def survived(request: pytest.FixtureRequest) -> Survived:
    return Survived(request.node)


@pytest.fixture
def times(pytestconfig: pytest.Config) -> int:
    """How many times the usual number of faults is asked for."""
    asked: int = pytestconfig.getoption("--faults")
    return asked


@pytest.fixture
def dice(pytestconfig: pytest.Config) -> random.Random:
    """Random numbers whose seed is in the output of a test that fails; `--faults-seed` gives the same again."""
    seed = pytestconfig.getoption("--faults-seed") or random.SystemRandom().getrandbits(32)
    print(f"to have the same dice again: --faults-seed={seed}")  # noqa: T201 - pytest shows it where the test failed
    return random.Random(seed)


@pytest.fixture(scope="session")
def nursery() -> Nursery:
    return shared_nursery()


@pytest.fixture
def story(tmp_path: Path, store_dsn: str, nursery: Nursery) -> Iterator[Lab]:
    """A lab whose store is not broken."""
    with lab(tmp_path, store_dsn, nursery) as made:
        yield made
