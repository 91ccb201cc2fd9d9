"""The order of the files: the longest begin first, so that no worker is left with one of them at the end of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parent

#: The files that take longest, the longest first (`pytest --durations`); the others follow as they are collected.
LONGEST = (
    "lambdas/test_walk.py",
    "infra/aws/test_apply.py",
    "infra/test_build.py",
    "ansible/test_monitoring_role.py",
    "agent/test_obedience.py",
    "functions/query/test_readings.py",
    "infra/standalone/test_server.py",
    "functions/ingest/test_limits.py",
    "truth/test_resets.py",
    "infra/database/test_schema.py",
    "fuzz/test_fuzz.py",
    "faults/test_clocks.py",
    "faults/test_oracle.py",
    "faults/test_kills.py",
    "whole/test_whole.py",
    "faults/test_removed.py",
    "contracts/test_batch.py",
    "functions/config/test_fleet_release.py",
    "cli/demo/test_demo.py",
    "cli/test_operators.py",
    "faults/test_store.py",
    "faults/test_disks.py",
    "agent/transports/test_bucket.py",
    "truth/test_exact.py",
    "infra/standalone/test_identity.py",
    "infra/standalone/test_transports.py",
    "agent/identity/test_renewal.py",
    "agent/test_run.py",
    "agent/test_reload.py",
    "agent/test_full_disk.py",
    "lambdas/test_contract.py",
    "agent/test_targets.py",
)
_PLACES = {ROOT / file: place for place, file in enumerate(LONGEST)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: _PLACES.get(item.path, len(_PLACES)))
