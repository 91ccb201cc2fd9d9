"""The client certificate that a request's connection was made with, as the gateway hands it on."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from typing import Any

_PEM = re.compile(r"-----BEGIN CERTIFICATE-----\s+([A-Za-z0-9+/=\s]+)-----END CERTIFICATE-----\s*", re.ASCII)


class ClientCertificateError(ValueError):
    """What the gateway handed on is no certificate."""


def fingerprint(event: Mapping[str, Any]) -> bytes | None:
    """The sha-256 of the certificate's DER; None: the connection has none. The gateway has verified it.

    Raises:
        ClientCertificateError: it is no certificate in PEM.
    """
    found = event["requestContext"].get("authentication")
    if found is None:
        return None
    match = _PEM.fullmatch(found["clientCert"]["clientCertPem"].strip())
    if match is None:
        raise ClientCertificateError("the gateway's clientCertPem is not one certificate in PEM")
    try:
        return hashlib.sha256(base64.b64decode("".join(match[1].split()), validate=True)).digest()
    except ValueError as error:
        raise ClientCertificateError("the gateway's clientCertPem is not base64") from error


def thumbprint(fingerprint: bytes) -> str:
    """As a token's `x5t#S256` has it (RFC 8705, section 3.1)."""
    return base64.urlsafe_b64encode(fingerprint).rstrip(b"=").decode()
