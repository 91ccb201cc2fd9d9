"""AWS in this process for a worker's whole run, and one deployment for each file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.standalone.embedded import EmbeddedPostgres
from tests.infra.standalone.serving import new_store
from tests.lambdas.aws import Aws, Deployment, Functions, moto


@pytest.fixture(scope="session")
def aws() -> Iterator[Aws]:
    with moto() as running:
        yield running


@pytest.fixture(scope="module")
def deployment(aws: Aws, server: EmbeddedPostgres) -> Deployment:
    """A bucket, a queue, secrets and a store of the file's own."""
    made = Deployment(aws, new_store(server))
    made.prepare()
    return made


@pytest.fixture(scope="module")
def functions(deployment: Deployment) -> Iterator[Functions]:
    with Functions(deployment.functions()) as running:
        yield running
