"""Agents as the server meets them: keys, requests for certificates, assertions; and what operators ask for."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from contracts.claims import AgentClaims, OperatorClaims
from contracts.identity import Enrolled, EnrolmentCreated, TokenGranted
from functions.authorizer.authority import create, parse, pem, sign
from functions.authorizer.door import handler
from functions.authorizer.keys import dump, generate
from tests.functions.events import agent_claims, operator_claims, request

GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"


def ask(
    method: str,
    path: str,
    body: Any = None,
    *,
    token: str | None = None,
    claims: AgentClaims | OperatorClaims | None = None,
    certificate: str | None = None,
    query: dict[str, str] | None = None,
) -> dict[str, Any]:
    """What the door answers; `certificate` is that of the connection."""
    headers = {"content-type": "application/json"} | ({"authorization": f"Bearer {token}"} if token else {})
    data = None if body is None else json.dumps(body).encode()
    event = request(method, path, query, claims=claims, headers=headers, body=data)
    return handler(event if certificate is None else with_certificate(event, certificate), None)


def with_certificate(event: dict[str, Any], certificate: str) -> dict[str, Any]:
    context = {**event["requestContext"], "authentication": {"clientCert": {"clientCertPem": certificate}}}
    return {**event, "requestContext": context}


def enrolment(**asked: Any) -> EnrolmentCreated:
    """A new enrolment token."""
    answer = ask("POST", "/v1/enrolments", asked, claims=operator_claims("operator"))
    assert answer["statusCode"] == 201, answer
    return EnrolmentCreated.model_validate_json(answer["body"])


@dataclass
class Agent:
    """An agent's key, and what it was told at its enrolment."""

    name: str = "agent-1"
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))
    enrolled: Enrolled | None = None

    def csr(self, name: str | None = None) -> str:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name or self.name)])
        builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
        return text(builder.sign(self.key, hashes.SHA256()))

    def ask_to_enrol(self, token: str) -> dict[str, Any]:
        return ask("POST", "/v1/agents", {"csr": self.csr()}, token=token)

    def enrol(self, token: str | None = None) -> Enrolled:
        answer = self.ask_to_enrol(token or enrolment().token)
        assert answer["statusCode"] == 201, answer
        self.enrolled = Enrolled.model_validate_json(answer["body"])
        return self.enrolled

    @property
    def certificate(self) -> str:
        assert self.enrolled
        return self.enrolled.certificate

    def claims(self, **changes: Any) -> dict[str, Any]:
        """What an assertion of this agent says; what is changed to None is left out."""
        now = int(time.time())
        audience = self.enrolled.audience if self.enrolled else "pganalytics:none"
        said: dict[str, Any] = {"iss": self.name, "sub": self.name, "aud": audience, "iat": now, "exp": now + 60}
        said |= {"jti": secrets.token_hex(16), **changes}
        return {name: value for name, value in said.items() if value is not None}

    def assertion(self, *, headers: dict[str, Any] | None = None, **changes: Any) -> str:
        return jwt.encode(self.claims(**changes), self.key, "ES256", headers)

    def ask_for_token(self, assertion: str | None = None, certificate: str | None = None) -> dict[str, Any]:
        body = {"grant_type": GRANT, "assertion": assertion or self.assertion()}
        return ask("POST", "/v1/token", body, certificate=certificate)

    def token(self, certificate: str | None = None) -> str:
        answer = self.ask_for_token(certificate=certificate)
        assert answer["statusCode"] == 200, answer
        return TokenGranted.model_validate_json(answer["body"]).access_token

    def renew(self, csr: str | None = None, certificate: str | None = None) -> dict[str, Any]:
        """What a token of this agent gets for a request."""
        body = {"csr": csr or self.csr()}
        return ask("POST", "/v1/certificate", body, claims=agent_claims(self.name), certificate=certificate)


def revoke(name: str, reason: str = "") -> dict[str, Any]:
    query = {"reason": reason} if reason else None
    return ask("DELETE", f"/v1/agents/{name}", claims=operator_claims("admin"), query=query)


def text(request: x509.CertificateSigningRequest) -> str:
    return request.public_bytes(Encoding.PEM).decode()


def stranger(name: str) -> str:
    """A certificate of this name from an authority that is not ours."""
    made = parse(create("other", 30, datetime.now(UTC)).encode(), "other")
    return pem(sign(made, name, Agent().key.public_key(), datetime.now(UTC)))


def write(file: Path, content: str) -> Path:
    file.write_text(content)
    file.chmod(0o600)
    return file


def make_files(folder: Path) -> tuple[Path, Path]:
    """New keys of access tokens, and a new authority."""
    authority = create("test", 365, datetime.now(UTC))
    return write(folder / "keys.json", dump([generate()])), write(folder / "authority.pem", authority)
