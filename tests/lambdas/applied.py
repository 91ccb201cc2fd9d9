"""The module of infra/aws, applied to moto with the real artifacts, and what it made: read from there, not its text."""

from __future__ import annotations

import base64
import json
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from tests.aws import Aws, invoked
from tests.infra.aws.account import begin
from tests.lambdas.artifacts import ARCH, PYTHON, artifacts
from tests.lambdas.aws import Functions
from tests.lambdas.gateway import Behind, Gateway
from tests.lambdas.runtime import Deployed, running

#: The fewest that the module allows: the walk has to make all of them.
RECEIVES = 5

_VARIABLES = f"""
  architecture    = "{ARCH}"
  python          = "{PYTHON}"
  loader_receives = {RECEIVES}
"""


@dataclass(frozen=True)
class Applied:
    """What Terraform made; `outputs` are the module's."""

    aws: Aws
    outputs: dict[str, Any]

    @cached_property
    def functions(self) -> dict[str, Deployed]:
        """Every function by its name: its code is that of the artifact whose sum it has."""
        pages = self.aws.client("lambda").get_paginator("list_functions").paginate()
        return {
            found["FunctionName"]: Deployed(
                task=_task(found["CodeSha256"]),
                handler=found["Handler"],
                # What the lab adds is where its AWS is.
                environment={**self.aws.environment, **found["Environment"]["Variables"]},
                name=found["FunctionName"],
                timeout_seconds=found["Timeout"],
                memory_mb=found["MemorySize"],
            )
            for page in pages
            for found in page["Functions"]
        }

    def gateway(self, functions: Functions) -> Gateway:
        client = self.aws.client("apigatewayv2")
        (api,) = client.get_apis()["Items"]
        id_ = {"ApiId": api["ApiId"]}
        integrations = {each["IntegrationId"]: each for each in client.get_integrations(**id_)["Items"]}
        assert {each["PayloadFormatVersion"] for each in integrations.values()} == {"2.0"}
        routes = client.get_routes(**id_)["Items"]
        authorizers = {
            found: client.get_authorizer(**id_, AuthorizerId=found)
            for found in {route["AuthorizerId"] for route in routes if route.get("AuthorizerId")}
        }
        behind: dict[str, Behind] = {}
        for route in routes:
            integration = integrations[route["Target"].removeprefix("integrations/")]
            function = _function(integration["IntegrationUri"])
            if route.get("AuthorizerId"):
                told = authorizers[route["AuthorizerId"]]
                behind[route["RouteKey"]] = Behind(
                    function, _function(told["AuthorizerUri"]), tuple(told["IdentitySource"])
                )
            else:
                behind[route["RouteKey"]] = Behind(function, None)
        return Gateway(behind, functions.invoke)

    @cached_property
    def mapping(self) -> dict[str, Any]:
        """The way from the queue to the loader."""
        found: dict[str, Any]
        (found,) = self.aws.client("lambda").list_event_source_mappings()["EventSourceMappings"]
        return found

    @property
    def loader(self) -> str:
        return str(self.mapping["FunctionArn"].rpartition(":")[2])

    @cached_property
    def queue_url(self) -> str:
        name = self.mapping["EventSourceArn"].rpartition(":")[2]
        return str(self.aws.client("sqs").get_queue_url(QueueName=name)["QueueUrl"])

    @cached_property
    def redrive(self) -> dict[str, Any]:
        """When the queue gives a message up, and where it is then."""
        found = self.aws.client("sqs").get_queue_attributes(QueueUrl=self.queue_url, AttributeNames=["RedrivePolicy"])
        policy: dict[str, Any] = json.loads(found["Attributes"]["RedrivePolicy"])
        return policy

    @cached_property
    def dead_url(self) -> str:
        name = self.redrive["deadLetterTargetArn"].rpartition(":")[2]
        return str(self.aws.client("sqs").get_queue_url(QueueName=name)["QueueUrl"])


def _task(code_sha256: str) -> Path:
    """Where the artifact of this sum, as Lambda writes it, is unzipped."""
    (found,) = (each.task for each in artifacts().values() if each.sha256 == base64.b64decode(code_sha256).hex())
    return found


def _function(uri: str) -> str:
    found = re.search(r":function:([\w-]+)/invocations", uri)
    assert found, uri
    return found[1]


def apply(aws: Aws, folder: Path) -> Applied:
    """Apply the module; the folder has its state. What it invokes runs as in Lambda: from its artifact."""

    def run(function: Any, event: Any) -> Any:
        environment = {**aws.environment, **function.environment_vars}
        task = _task(function.code_sha_256)
        with running(Deployed(task, function.handler, environment, timeout_seconds=function.timeout)) as lambda_:
            return lambda_.invoke(event)

    account = begin(aws, folder, artifacts()["query"].path.parent)
    with invoked(run):
        applied = Applied(aws, account.apply(_VARIABLES))
    # moto would take messages itself, and denies what a policy denies on any condition.
    aws.client("lambda").update_event_source_mapping(UUID=applied.mapping["UUID"], Enabled=False)
    aws.client("s3").delete_bucket_policy(Bucket=applied.outputs["bucket"])
    return applied
