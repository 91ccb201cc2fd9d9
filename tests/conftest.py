"""Fixtures that every test may use."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.standalone.embedded import EmbeddedPostgres, embedded_postgres


@pytest.fixture(scope="session")
def server() -> Iterator[EmbeddedPostgres]:
    """One PostgreSQL 18 for the whole run of this worker, with pg_stat_statements loaded."""
    settings = {
        "fsync": "off",
        "full_page_writes": "off",
        "synchronous_commit": "off",
        "shared_preload_libraries": "pg_stat_statements",
        "track_functions": "all",
    }
    with embedded_postgres(settings) as running:
        yield running


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs PostgreSQL by its fixtures, so that `-m "not postgres"` is always right."""
    for item in items:
        if isinstance(item, pytest.Function) and "server" in item.fixturenames:
            item.add_marker(pytest.mark.postgres)
