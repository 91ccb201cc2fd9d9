"""One question to Secrets Manager without the SDK, which takes longer to load than all else of a cold start.

For Lambda only, where credentials stand in the environment and are renewed with it. It is signed as *AWS Signature
Version 4* says; a test holds the signature against the SDK's. docs/decisions/0009 has what it saves.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

SERVICE = "secretsmanager"

_ALGORITHM = "AWS4-HMAC-SHA256"
_TARGET = "secretsmanager.GetSecretValue"
_SIGNED = ("content-type", "host", "x-amz-date", "x-amz-security-token", "x-amz-target")

#: API Gateway waits 10 seconds for the authorizer, and there may be two attempts.
_TIMEOUT_SECONDS = 2.0


# Where addresses are others than those below, the SDK knows them.
_ELSEWHERE = ("us-iso", "eu-iso", "eusc-")
_OTHERWISE = {"AWS_USE_FIPS_ENDPOINT", "AWS_USE_DUALSTACK_ENDPOINT"}


class UnansweredError(Exception):
    """Nobody answered; the message is the kind of failure."""


def here() -> bool:
    """Whether this process is a function of Lambda's, with credentials, and where the question goes is known here."""
    needed = {"AWS_LAMBDA_RUNTIME_API", "AWS_REGION", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"}
    if not needed <= os.environ.keys() or _OTHERWISE & os.environ.keys():
        return False
    return not os.environ["AWS_REGION"].startswith(_ELSEWHERE)


def get_secret_value(name: str) -> tuple[int, dict[str, Any]]:
    """The status and the answer, which on failure has the code of the error as `__type`.

    Raises:
        UnansweredError: try again.
    """
    from http.client import HTTPConnection, HTTPException, HTTPSConnection

    parts = urlsplit(_endpoint(os.environ["AWS_REGION"]))
    body = json.dumps({"SecretId": name, "VersionStage": "AWSCURRENT"}).encode()
    headers = signed(parts.netloc, body, os.environ, datetime.now(UTC))
    kind = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = kind(parts.netloc, timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("POST", "/", body, headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    except (OSError, HTTPException, ValueError) as error:
        raise UnansweredError(type(error).__name__) from error
    finally:
        connection.close()


def _endpoint(region: str) -> str:
    for variable in ("AWS_ENDPOINT_URL_SECRETS_MANAGER", "AWS_ENDPOINT_URL"):
        if os.environ.get(variable):
            return os.environ[variable]
    suffix = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://{SERVICE}.{region}.{suffix}"


def signed(host: str, body: bytes, environment: Mapping[str, str], now: datetime) -> dict[str, str]:
    """The headers of the question, with its signature."""
    at, region = now.strftime("%Y%m%dT%H%M%SZ"), environment["AWS_REGION"]
    headers = {"content-type": "application/x-amz-json-1.1", "host": host, "x-amz-date": at, "x-amz-target": _TARGET}
    if environment.get("AWS_SESSION_TOKEN"):
        headers["x-amz-security-token"] = environment["AWS_SESSION_TOKEN"]
    names = [name for name in _SIGNED if name in headers]
    canonical = ["POST", "/", "", *(f"{name}:{headers[name]}" for name in names), "", ";".join(names)]
    request = "\n".join([*canonical, hashlib.sha256(body).hexdigest()])
    scope = f"{at[:8]}/{region}/{SERVICE}/aws4_request"
    to_sign = "\n".join([_ALGORITHM, at, scope, hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{environment['AWS_SECRET_ACCESS_KEY']}".encode()
    for part in (*scope.split("/"), to_sign):
        key = hmac.digest(key, part.encode(), "sha256")
    credential = f"Credential={environment['AWS_ACCESS_KEY_ID']}/{scope}"
    headers["authorization"] = f"{_ALGORITHM} {credential}, SignedHeaders={';'.join(names)}, Signature={key.hex()}"
    return headers
