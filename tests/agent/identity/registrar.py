"""Stands for the server's side of identity: it answers as contracts.identity says; all else takes a token."""

from __future__ import annotations

import json
import secrets
import threading
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import jwt
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import NameOID

from contracts.identity import CertificateAsked, Enrolled, TokenAsked, TokenGranted
from tests.agent.authority import Authority
from tests.agent.door import Answer, Asked, configuration, problem

#: What an authorizer answers: nobody looked at the request.
DENIED = Answer(403, {"Content-Type": "application/json"}, b'{"message":"Forbidden"}')

#: What it gives to agents to obey.
_QUICK = {
    "upload_every_seconds": 1,
    "pull_every_seconds": 3600,
    "metrics": {"host_memory": {"every_seconds": 1}},
}


def enrolment_token() -> str:
    return f"pge_{secrets.token_urlsafe(32)}"


@dataclass(frozen=True)
class _Given:
    agent_id: str
    ends_at: float
    certificate: bytes | None


class Registrar:
    """A fleet of agents. What it does next can be set at any time, and what it was asked is in the door."""

    def __init__(self, authority: Authority) -> None:
        self.authority = authority
        self._lock = threading.Lock()
        #: How often each enrolment token may still be used; None: it has expired.
        self.enrolments: dict[str, int | None] = {}
        self.keys: dict[str, bytes] = {}
        self.revoked: set[str] = set()
        #: Seconds that its clock is ahead of this host's.
        self.ahead = 0.0
        self.token_seconds = 900
        self.life = timedelta(days=90)
        #: Whether a token is good for nobody but the certificate that it was given to.
        self.binds = False
        #: What it says in the place of the next answers of a path.
        self.instead: dict[str, Answer] = {}
        self.tokens: dict[str, _Given] = {}
        #: Every access token so far.
        self.issued: list[str] = []
        self._assertions: set[str] = set()

    def enrolment(self, uses: int | None = 1) -> str:
        token = enrolment_token()
        self.enrolments[token] = uses
        return token

    def forget_tokens(self) -> None:
        """As after new signing keys."""
        self.tokens.clear()

    def __call__(self, asked: Asked) -> Answer:
        with self._lock:
            answer = self.instead.get(asked.path) or self._answer(asked)
        date = format_datetime(datetime.fromtimestamp(self._now(), UTC), usegmt=True)
        return replace(answer, headers={"Date": date} | dict(answer.headers))

    def _now(self) -> float:
        return time.time() + self.ahead

    def _answer(self, asked: Asked) -> Answer:
        if (asked.method, asked.path) == ("POST", "/v1/agents"):
            return self._enrol(asked)
        if (asked.method, asked.path) == ("POST", "/v1/token"):
            return self._grant(asked)
        given = self.tokens.get(_bearer(asked))
        if given is None or given.ends_at <= self._now() or (self.binds and given.certificate != asked.certificate):
            return DENIED
        if asked.path == "/v1/certificate":
            return self._certify(CertificateAsked.model_validate_json(asked.body), 200, given.agent_id)
        if asked.path == "/v1/config":
            return configuration(1, _QUICK, '"1"')
        return Answer(202)

    def _enrol(self, asked: Asked) -> Answer:
        token, body = _bearer(asked), CertificateAsked.model_validate_json(asked.body)
        request = x509.load_pem_x509_csr(body.csr.encode())
        name = str(request.subject.get_attributes_for_oid(NameOID.COMMON_NAME)[0].value)
        again = self.keys.get(name) == _public(request)
        if token not in self.enrolments:
            return problem(401, "the enrolment token is not known")
        uses = self.enrolments[token]
        if uses is None:
            return problem(401, "the enrolment token has expired")
        if not again:
            if uses == 0:
                return problem(401, "the enrolment token is used up")
            if name in self.keys:
                return problem(409, f"{name} is enrolled")
            self.enrolments[token] = uses - 1
        self.keys[name] = _public(request)
        return self._certify(body, 201, name)

    def _certify(self, asked: CertificateAsked, status: int, agent_id: str) -> Answer:
        request = x509.load_pem_x509_csr(asked.csr.encode())
        assert request.is_signature_valid
        assert [attribute.value for attribute in request.subject] == [agent_id]
        now = datetime.now(UTC)
        certificate = self.authority.certify(request, now, now + self.life)
        enrolled = Enrolled(
            agent_id=agent_id,
            certificate=certificate.public_bytes(Encoding.PEM).decode(),
            authority=self.authority.ca_file.read_text(),
            audience=self.authority.audience,
            not_after=certificate.not_valid_after_utc,
        )
        return Answer(status, {}, enrolled.model_dump_json().encode())

    def _grant(self, asked: Asked) -> Answer:
        assertion = TokenAsked.model_validate_json(asked.body).assertion
        claims: dict[str, Any] = jwt.decode(assertion, options={"verify_signature": False})
        agent_id = claims["sub"]
        if agent_id not in self.keys or agent_id in self.revoked:
            return problem(401, "the assertion is no agent's of this fleet")
        checked = jwt.decode_complete(
            assertion,
            self.keys[agent_id].decode(),
            algorithms=["ES256"],
            audience=self.authority.audience,
            issuer=agent_id,
            options={"verify_iat": False, "verify_exp": False, "require": ["iss", "sub", "aud", "iat", "exp", "jti"]},
        )
        assert checked["header"].keys() <= {"alg", "kid", "typ"}
        assert claims.keys() == {"iss", "sub", "aud", "iat", "exp", "jti"}
        assert claims["exp"] - claims["iat"] <= 60
        if not (claims["iat"] <= self._now() + 10 and claims["exp"] > self._now() - 10):
            return problem(401, "the assertion is of another time; see the Date of this answer")
        if claims["jti"] in self._assertions:
            return problem(401, "the assertion was shown before")
        self._assertions.add(claims["jti"])
        token = secrets.token_urlsafe(32)
        self.tokens[token] = _Given(agent_id, self._now() + self.token_seconds, asked.certificate)
        self.issued.append(token)
        granted = TokenGranted(access_token=token, expires_in=self.token_seconds)
        return Answer(200, {"Content-Type": "application/json"}, json.dumps(granted.model_dump()).encode())


def _bearer(asked: Asked) -> str:
    return str(asked.headers.get("Authorization", "")).removeprefix("Bearer ")


def _public(request: x509.CertificateSigningRequest) -> bytes:
    return request.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
