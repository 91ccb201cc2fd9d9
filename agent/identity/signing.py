"""What the agent's key does: requests for certificates (PKCS #10) and assertions (RFC 7523)."""

from __future__ import annotations

import secrets
from datetime import datetime

import jwt
from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, load_pem_private_key
from cryptography.x509.oid import NameOID

from contracts.identity import ASSERTION_ALGORITHM, ASSERTION_SECONDS


class UnusableError(Exception):
    """A key or a certificate is not what the agent makes and gets; the message says what is wrong, and shows none."""


def generate() -> bytes:
    """A new private key, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


class Key:
    """A private key on P-256."""

    def __init__(self, pem: bytes) -> None:
        """Raises UnusableError where this is none."""
        try:
            key = load_pem_private_key(pem, password=None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            raise UnusableError("not a private key in PEM") from None
        if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
            raise UnusableError("not a key on P-256")
        self._key = key

    def request(self, agent_id: str) -> str:
        """The certificate signing request for this name, PEM."""
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, agent_id)])
        request = x509.CertificateSigningRequestBuilder().subject_name(subject).sign(self._key, hashes.SHA256())
        return request.public_bytes(Encoding.PEM).decode()

    def assertion(self, agent_id: str, audience: str, now: float) -> str:
        """What an access token is given for; `now` is the server's, in seconds since 1970."""
        issued_at = int(now)
        claims = {
            "iss": agent_id,
            "sub": agent_id,
            "aud": audience,
            "iat": issued_at,
            "exp": issued_at + ASSERTION_SECONDS,
            "jti": secrets.token_urlsafe(24),
        }
        return jwt.encode(claims, self._key, ASSERTION_ALGORITHM)

    def belongs_to(self, certificate: bytes) -> bool:
        """Whether the certificate (PEM) is this key's. Raises UnusableError where it is none."""
        return _certificate(certificate).public_key() == self._key.public_key()


def validity(certificate: bytes) -> tuple[datetime, datetime]:
    """From when and until when a certificate (PEM) is good. Raises UnusableError where it is none."""
    found = _certificate(certificate)
    return found.not_valid_before_utc, found.not_valid_after_utc


def _certificate(pem: bytes) -> x509.Certificate:
    try:
        return x509.load_pem_x509_certificate(pem)
    except ValueError:
        raise UnusableError("not a certificate in PEM") from None
