"""AWS in this process for a worker's whole run, and one deployment for each file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from infra.standalone.embedded import EmbeddedPostgres
from tests.aws import Aws, moto
from tests.infra.standalone.serving import new_store
from tests.lambdas.artifacts import ONLY_LINUX
from tests.lambdas.aws import Deployment, Functions
from tests.lambdas.places import Lambdas, Place, Standalone, make_admin


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


@pytest.fixture(scope="module", params=["standalone", pytest.param("lambdas", marks=ONLY_LINUX)])
def place(
    request: pytest.FixtureRequest, aws: Aws, server: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Place]:
    """Where the functions run: the one place, and then the other."""
    folder = tmp_path_factory.mktemp("place")
    deployment = Deployment(aws, new_store(server))
    deployment.prepare()
    make_admin(deployment.dsn, folder)
    if request.param == "standalone":
        with Standalone(deployment, folder) as served:
            yield served
    else:
        with Functions(deployment.functions()) as functions:
            yield Lambdas(deployment, functions)
            assert deployment.dsn not in functions.logs()
