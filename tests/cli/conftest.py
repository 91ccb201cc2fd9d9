"""What the tests of the operator's command share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.cli.pretending import Pretended, pretending


@pytest.fixture
def pretended() -> Iterator[Pretended]:
    """A server that has nothing yet."""
    with pretending() as server:
        yield server
