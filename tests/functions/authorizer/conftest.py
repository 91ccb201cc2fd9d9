"""Operators for the tests of logins and accounts."""

from __future__ import annotations

import pytest

from functions.store import Store
from tests.functions.authorizer.operating import Operators


@pytest.fixture
def operators(store: Store) -> Operators:
    """A store in which ann is a viewer."""
    made = Operators(store)
    made.add("ann")
    return made
