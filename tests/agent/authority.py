"""A certificate authority of the tests' own: it certifies a server on one address, and clients that ask for it."""

from __future__ import annotations

import hashlib
import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID


class Authority:
    """`ca_file` is what a client trusts, `server_chain` what a server shows (certificate and key)."""

    def __init__(self, folder: Path, server_address: str = "127.0.0.1") -> None:
        self.ca_file = folder / "ca.pem"
        self.server_chain = folder / "server.pem"
        key, server_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an authority for tests")])
        self._key, self._name = key, name
        usage = x509.KeyUsage(
            digital_signature=True,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            key_cert_sign=True,
            crl_sign=True,
            encipher_only=False,
            decipher_only=False,
        )
        ca = _builder(name, name, key).add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        ca = ca.add_extension(usage, critical=True)
        self.ca_file.write_bytes(ca.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM))
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, server_address)])
        address = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address(server_address))])
        certificate = (
            _builder(subject, name, server_key)
            .add_extension(address, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        private = server_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        self.server_chain.touch(0o600)
        self.server_chain.write_bytes(certificate.public_bytes(Encoding.PEM) + private)

    @property
    def audience(self) -> str:
        """That of assertions (contracts/identity.py)."""
        spki = self._key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        return f"pganalytics:{hashlib.sha256(spki).hexdigest()[:32]}"

    def certify(self, request: x509.CertificateSigningRequest, begins: datetime, ends: datetime) -> x509.Certificate:
        """A client certificate for the key and the name of the request."""
        return (
            x509.CertificateBuilder()
            .subject_name(request.subject)
            .issuer_name(self._name)
            .public_key(request.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begins)
            .not_valid_after(ends)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )

    def context(self, clients: ssl.VerifyMode = ssl.CERT_NONE) -> ssl.SSLContext:
        """For a server of TLS 1.3 that asks its clients for certificates of this authority, or does not."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.load_cert_chain(self.server_chain)
        context.load_verify_locations(self.ca_file)
        context.verify_mode = clients
        return context


def _builder(subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
