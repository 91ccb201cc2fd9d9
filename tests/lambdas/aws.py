"""The functions of infra/aws as they are deployed."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Self

from functions.authorizer.authority import create
from functions.authorizer.keys import Keys, dump, generate
from tests.aws import REGION, Aws
from tests.infra.aws import module
from tests.lambdas.artifacts import artifacts
from tests.lambdas.runtime import Deployed, Running, running

# Of a store that the module makes.
_OTHERWISE = {"PGANALYTICS_STORE_AT"}


@dataclass(frozen=True)
class Deployment:
    """What the functions of one deployment are told of: a store, a bucket, a queue, and three secrets with values."""

    aws: Aws
    dsn: str
    keys: Keys = field(default_factory=lambda: Keys((generate(),)))
    name: str = field(default_factory=lambda: f"pganalytics-{secrets.token_hex(4)}")

    def prepare(self) -> None:
        """Make the bucket, the queue and the secrets."""
        self.aws.client("s3").create_bucket(Bucket=self.name, CreateBucketConfiguration={"LocationConstraint": REGION})
        self.aws.client("sqs").create_queue(QueueName=self.name)
        values = {"store": self.dsn, "keys": dump(self.keys.all), "authority": create("fleet", 30, datetime.now(UTC))}
        for name, value in values.items():
            self.aws.client("secretsmanager").create_secret(Name=f"{self.name}/{name}", SecretString=value)

    @property
    def variables(self) -> dict[str, str]:
        """The value of every variable that a function may be told."""
        return {
            "PGANALYTICS_STORE_DSN_SECRET": f"{self.name}/store",
            "PGANALYTICS_KEYS_SECRET": f"{self.name}/keys",
            "PGANALYTICS_AUTHORITY_SECRET": f"{self.name}/authority",
            "PGANALYTICS_BUCKET_URL": f"s3://{self.name}",
            "PGANALYTICS_QUEUE_URL": self.aws.client("sqs").get_queue_url(QueueName=self.name)["QueueUrl"],
            "PGANALYTICS_BIND_TOKENS": "false",
            "PGANALYTICS_KEEP_DAYS": "30",
            "PGANALYTICS_KEEP_DAYS_BY_METRIC": "",
            "PGANALYTICS_RECONCILE_DAYS": "2",
            "PGANALYTICS_ROLLUP_KEEP_DAYS": "400",
            "PGANALYTICS_ROLLUP_SECONDS": "60",
            "PGANALYTICS_QUARANTINE_KEEP_DAYS": "90",
            "PGANALYTICS_DEPLOYMENT": self.name,
        }

    def functions(self) -> dict[str, Deployed]:
        """Every function of `infra/aws/functions.tf`, told what that file tells it."""
        values = self.variables
        return {
            function.name: Deployed(
                task=artifacts()[function.artifact].task,
                handler=function.handler,
                environment={
                    **self.aws.environment,
                    **{name: values[name] for name in function.environment - _OTHERWISE},
                },
                timeout_seconds=function.timeout,
                name=f"{self.name}-{function.name}",
            )
            for function in module.functions()
        }


class Functions:
    """Functions that begin to run when they are first invoked, and end together."""

    def __init__(self, deployed: Mapping[str, Deployed]) -> None:
        self._deployed = deployed
        self._stack = ExitStack()
        self._running: dict[str, Running] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def invoke(self, name: str, event: object) -> Any:
        return self.running(name).invoke(event)

    def running(self, name: str) -> Running:
        if name not in self._running:
            self._running[name] = self._stack.enter_context(running(self._deployed[name]))
        return self._running[name]

    def restart(self, name: str) -> None:
        """Let the next event meet a new environment."""
        self._running.pop(name, None)

    def logs(self) -> str:
        return "".join(each.log for each in self._running.values())
