"""Looks at the releases that are running, by schedule."""

from __future__ import annotations

import functools
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from functions.config.advance import advance
from functions.config.parts import ConfigEnvironment
from functions.environment import read
from functions.store import Store

logger = Logger(service="pganalytics")


@functools.cache
def _store() -> Store:
    return read(ConfigEnvironment).store("pganalytics release")


def handler(_event: dict[str, Any], _context: object) -> dict[str, Any]:
    """Look once, and say what became of each release.

    Raises:
        StoreUnavailableError: the schedule tries again.
    """
    looked = advance(_store(), datetime.now(UTC))
    for each in looked:
        logger.info("release", extra=asdict(each))
    return {"releases": [asdict(each) for each in looked]}
