"""The authority that signs agents' client certificates: one text in PEM, secret for the private key in it.

Its first certificate is the key's own; further ones are of authorities before it, which are still trusted.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from contracts.identity import CERTIFICATE_DAYS
from functions.authorizer import private_file
from functions.authorizer.private_file import CredentialsError

#: A certificate holds a little before it is made: clocks differ.
_EARLIER = timedelta(minutes=5)

_MEND = "write it as `pganalytics authority create` does, or restore it"


class AuthorityError(CredentialsError):
    """The authority cannot be used; the message names the file or secret and what to mend, and shows no key."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A private key (ECDSA, P-256) and its certificate, followed by those of authorities that are still trusted."""

    key: ec.EllipticCurvePrivateKey = field(repr=False)
    certificates: tuple[x509.Certificate, ...]

    @property
    def pem(self) -> str:
        """The certificates, without the key: what trusts agents."""
        return "".join(pem(certificate) for certificate in self.certificates)

    @property
    def audiences(self) -> tuple[str, ...]:
        """What assertions may be addressed to; the first is what new agents are told."""
        return tuple(f"pganalytics:{key_sha256(each.public_key()).hex()[:32]}" for each in self.certificates)


def create(name: str, days: int, now: datetime) -> str:
    """A new authority as the text of a file; it is secret."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    certificate = (
        _builder(subject, subject, key.public_key(), now)
        .not_valid_after(now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    return secret + pem(certificate)


def sign(authority: Authority, agent_id: str, key: ec.EllipticCurvePublicKey, now: datetime) -> x509.Certificate:
    """A client certificate for an agent; it never outlives the authority's own.

    Raises:
        AuthorityError: the authority's certificate has expired.
    """
    issuer = authority.certificates[0]
    until = min(now + timedelta(days=CERTIFICATE_DAYS), issuer.not_valid_after_utc)
    if until <= now:
        raise AuthorityError(f"the authority expired on {issuer.not_valid_after_utc:%Y-%m-%d}; make a new one")
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, agent_id)])
    return (
        _builder(subject, issuer.subject, key, now)
        .not_valid_after(until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
        .sign(authority.key, hashes.SHA256())
    )


def load(path: Path) -> Authority:
    """The authority in a file, read again only when it has changed.

    Raises:
        AuthorityError: there is no such file, others can read it, or it has no authority.
    """
    return _read(path, private_file.stamp(path, AuthorityError, _MEND))


@functools.lru_cache(maxsize=4)
def _read(path: Path, _stamp: tuple[int, int, int]) -> Authority:
    try:
        return parse(path.read_bytes(), str(path))
    except OSError as error:
        raise AuthorityError(f"{path}: {error.strerror}; {_MEND}") from error


def parse(text: bytes, source: str) -> Authority:
    """The authority in a text.

    Raises:
        AuthorityError: it is none; the message names the source.
    """
    try:
        key = load_pem_private_key(text, password=None)
    except (ValueError, TypeError):  # TypeError: it has a password
        raise AuthorityError(f"{source}: no private key in PEM without a password; {_MEND}") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or not isinstance(key.curve, ec.SECP256R1):
        raise AuthorityError(f"{source}: its key is not one of ECDSA on P-256; {_MEND}")
    try:
        certificates = tuple(x509.load_pem_x509_certificates(text))
    except ValueError:
        raise AuthorityError(f"{source}: no certificates in PEM; {_MEND}") from None
    if certificates[0].public_key() != key.public_key():
        raise AuthorityError(f"{source}: the first certificate is not that of the key; put it first")
    for number, certificate in enumerate(certificates, 1):
        if not _may_sign(certificate):
            raise AuthorityError(f"{source}: certificate {number} is not that of an authority; remove it")
    return Authority(key, certificates)


def _may_sign(certificate: x509.Certificate) -> bool:
    try:
        key_der(certificate.public_key())
        certificate.verify_directly_issued_by(certificate)
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, InvalidSignature, TypeError, ValueError):
        return False


def pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode()


def key_der(key: object) -> bytes:
    """The SubjectPublicKeyInfo of a public key.

    Raises:
        TypeError: it is no key of an elliptic curve.
    """
    if not isinstance(key, ec.EllipticCurvePublicKey):
        raise TypeError(f"a public key of an elliptic curve is expected, not {type(key).__name__}")
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def key_sha256(key: object) -> bytes:
    return hashlib.sha256(key_der(key)).digest()


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())  # 159 bits of chance
        .not_valid_before(now - _EARLIER)
    )


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
