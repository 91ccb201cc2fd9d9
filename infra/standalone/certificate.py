"""The certificate that a client showed in TLS's handshake, in the shape in which API Gateway hands it on.

Source: "Create AWS Lambda proxy integrations for HTTP APIs" in the developer guide of API Gateway, payload format 2.0,
`requestContext.authentication.clientCert`.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from typing import Any

#: OpenSSL's names of what stands in a distinguished name, and how these are abbreviated (RFC 4514, section 3).
_SHORT = {
    "commonName": "CN",
    "countryName": "C",
    "domainComponent": "DC",
    "localityName": "L",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "stateOrProvinceName": "ST",
}


def client_certificate(connection: ssl.SSLObject | ssl.SSLSocket | None) -> dict[str, Any] | None:
    """The verified certificate of the other end; None where there is no TLS, or none was shown.

    Raises:
        ssl.SSLError, ValueError: OpenSSL verified it, but cannot tell what is in it.
    """
    der = connection.getpeercert(binary_form=True) if connection else None
    if connection is None or der is None:
        return None
    # What OpenSSL read is told: two parsers of one certificate might disagree.
    found: Mapping[str, Any] = connection.getpeercert() or {}
    if not found:
        raise ValueError("a client certificate that was not verified")
    serial = found["serialNumber"].lower()
    return {
        "clientCertPem": ssl.DER_cert_to_PEM_cert(der),
        "subjectDN": _name(found["subject"]),
        "issuerDN": _name(found["issuer"]),
        "serialNumber": ":".join(serial[at : at + 2] for at in range(0, len(serial), 2)),
        "validity": {"notBefore": found["notBefore"], "notAfter": found["notAfter"]},
    }


def _name(parts: tuple[tuple[tuple[str, str], ...], ...]) -> str:
    return ",".join("+".join(f"{_SHORT.get(name, name)}={value}" for name, value in part) for part in parts)
