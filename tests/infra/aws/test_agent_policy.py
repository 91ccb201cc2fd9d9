"""What a host with a role of its own may do in the bucket: make batches under its own prefix, and nothing else.

The policy is enforced by moto, which knows actions and resources. It knows neither variables of policies, which are put
in here as IAM does, nor S3's conditions: that these are there is tested apart.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import ClientError
from moto import mock_aws
from moto.core import set_initial_no_auth_action_count

from contracts.names import NAME_PATTERN
from contracts.objects import agent_prefix
from tests.infra.aws.module import given, local, resources

BUCKET = "pganalytics-batches"
TRUST = {
    "Version": "2012-10-17",
    "Statement": {"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"},
}


def _statement() -> dict[str, Any]:
    (statement,) = resources("aws_iam_policy_document", "data")["agents"]["statement"]
    return given(statement)


def _policy(agent_id: str) -> str:
    """As IAM reads it for a principal with this tag; moto would deny for a condition that it does not know."""
    said = _statement()
    (resource,) = said["resources"]
    found = resource.replace("${aws_s3_bucket.batches.arn}", f"arn:aws:s3:::{BUCKET}")
    found = found.replace("${local.batches}", local("batches")).replace("${local.agent_tag}", local("agent_tag"))
    found = found.replace(f"$${{aws:PrincipalTag/{local('agent_tag')}}}", agent_id)
    assert "${" not in found
    allowed = {"Effect": "Allow", "Action": said["actions"], "Resource": found}
    return json.dumps({"Version": "2012-10-17", "Statement": [allowed]})


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """A bucket with a batch of each of two agents; answers a client with the role of the first."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    with mock_aws():
        s3, iam = boto3.client("s3"), boto3.client("iam")
        s3.create_bucket(Bucket=BUCKET)
        for agent_id in ("db-1", "db-10"):
            s3.put_object(Bucket=BUCKET, Key=f"{agent_prefix(agent_id)}there", Body=b"")
        role = iam.create_role(RoleName="db-1", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
        iam.put_role_policy(RoleName="db-1", PolicyName="agent", PolicyDocument=_policy("db-1"))
        keys = boto3.client("sts").assume_role(RoleArn=role["Arn"], RoleSessionName="i-1")["Credentials"]
        yield boto3.client(
            "s3",
            aws_access_key_id=keys["AccessKeyId"],
            aws_secret_access_key=keys["SecretAccessKey"],
            aws_session_token=keys["SessionToken"],
        )


@set_initial_no_auth_action_count(0)
def _enforced(call: Callable[[], object]) -> None:
    call()


def test_an_agent_makes_batches_under_its_own_prefix(account: Any) -> None:
    _enforced(lambda: account.put_object(Bucket=BUCKET, Key=f"{agent_prefix('db-1')}new", Body=b"", IfNoneMatch="*"))


_DENIED: dict[str, Callable[[Any], object]] = {
    "another's prefix": lambda s3: s3.put_object(Bucket=BUCKET, Key=f"{agent_prefix('db-2')}new", Body=b""),
    "a name that begins alike": lambda s3: s3.put_object(Bucket=BUCKET, Key=f"{agent_prefix('db-10')}new", Body=b""),
    "outside of batches": lambda s3: s3.put_object(Bucket=BUCKET, Key="agent=db-1/new", Body=b""),
    "reading its own": lambda s3: s3.get_object(Bucket=BUCKET, Key=f"{agent_prefix('db-1')}there"),
    "reading another's": lambda s3: s3.get_object(Bucket=BUCKET, Key=f"{agent_prefix('db-10')}there"),
    "looking at its own": lambda s3: s3.head_object(Bucket=BUCKET, Key=f"{agent_prefix('db-1')}there"),
    "deleting its own": lambda s3: s3.delete_object(Bucket=BUCKET, Key=f"{agent_prefix('db-1')}there"),
    "listing": lambda s3: s3.list_objects_v2(Bucket=BUCKET, Prefix=agent_prefix("db-1")),
    "its policy": lambda s3: s3.get_bucket_policy(Bucket=BUCKET),
    "other buckets": lambda s3: s3.list_buckets(),
}


@pytest.mark.parametrize("what", _DENIED)
def test_an_agent_may_do_nothing_else(account: Any, what: str) -> None:
    with pytest.raises(ClientError) as refused:
        _enforced(lambda: _DENIED[what](account))
    assert refused.value.response["Error"]["Code"] in {"AccessDenied", "403"}


def test_what_is_there_is_never_overwritten_and_nothing_goes_in_clear() -> None:
    conditions = {each["variable"]: (each["test"], each["values"]) for each in _statement()["condition"]}
    assert conditions == {"s3:if-none-match": ("Null", ["false"]), "aws:SecureTransport": ("Bool", ["true"])}


def test_no_id_of_an_agent_is_a_pattern_or_a_path() -> None:
    """Nor could a tag be one: IAM takes letters, digits, spaces and `_.:/=+-@` for its value."""
    assert re.fullmatch(NAME_PATTERN, "db-1.example.org")
    assert not [name for name in ("*", "db-?", "a/b", "db-1/dt=2026-01-01", "") if re.fullmatch(NAME_PATTERN, name)]
