"""AWS on this machine: moto's server, and what it runs in the place of Lambda."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
import urllib3

REGION = "eu-central-1"

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": REGION}


@dataclass(frozen=True)
class Aws:
    """moto's server, as clients see it."""

    url: str

    def client(self, service: str) -> Any:
        return boto3.client(
            service,  # type: ignore[call-overload]
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id="test",
            aws_secret_access_key="test",
        )

    @property
    def environment(self) -> dict[str, str]:
        """What a client reads that is not told of it."""
        return {**CREDENTIALS, "AWS_ENDPOINT_URL": self.url, "AWS_EC2_METADATA_DISABLED": "true"}


@contextmanager
def moto() -> Iterator[Aws]:
    """A server with nothing in it. It runs no function, and says of each that all is well."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        aws = Aws(f"http://{host}:{port}")
        # What another server of this process has made would be here, too.
        assert urllib3.request("POST", f"{aws.url}/moto-api/reset").status == 200
        # It would run functions in containers of its own.
        answer = urllib3.request("POST", f"{aws.url}/moto-api/config", json={"lambda": {"use_docker": False}})
        assert answer.status == 201
        yield aws
    finally:
        server.stop()


@contextmanager
def invoked(run: Callable[[Any, Any], Any]) -> Iterator[None]:
    """Let this answer what Terraform or Secrets Manager invokes: it is given moto's function, and the event."""
    from moto.awslambda_simple.models import LambdaSimpleBackend

    def invoke(self: Any, function_name: str, qualifier: Any, body: Any, headers: Any, response_headers: Any) -> bytes:
        return json.dumps(run(self.get_function(function_name), json.loads(body))).encode()

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(LambdaSimpleBackend, "invoke", invoke)
        yield
