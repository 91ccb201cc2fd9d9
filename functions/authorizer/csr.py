"""Certificate signing requests (PKCS #10; RFC 2986) as agents send them: a name, its key, and no wishes."""

from __future__ import annotations

from dataclasses import dataclass

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID, ObjectIdentifier
from pydantic import TypeAdapter, ValidationError

from contracts.names import AgentId
from functions.authorizer.authority import key_der, key_sha256

_EXTENSION_REQUEST = ObjectIdentifier("1.2.840.113549.1.9.14")  # RFC 2985, section 5.4.2

#: What cryptography says of bytes that are none; fuzzing found these.
_UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.DuplicateExtension,
    x509.InvalidVersion,
    x509.UnsupportedGeneralNameType,
)

_AGENT_ID: TypeAdapter[str] = TypeAdapter(AgentId)


class CsrError(ValueError):
    """It is not what an agent asks with; the message names what is wrong."""


@dataclass(frozen=True, slots=True)
class Requested:
    """Who asks, and the key that is theirs: they have signed with it."""

    agent_id: str
    key: ec.EllipticCurvePublicKey

    @property
    def key_der(self) -> bytes:
        return key_der(self.key)

    @property
    def key_sha256(self) -> bytes:
        return key_sha256(self.key)


def read(pem: str) -> Requested:
    """What a request asks for.

    Raises:
        CsrError: it is not signed by an ECDSA key on P-256 of its own, or asks for anything but CN=<agent_id>.
    """
    try:
        found = x509.load_pem_x509_csr(pem.encode())
        key = found.public_key()
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
            raise CsrError("csr: its key is not one of ECDSA on P-256")
        if not found.is_signature_valid:
            raise CsrError("csr: its signature is not that of its key")
        agent_id = _name(found.subject)
        _check_extensions(found, agent_id)
    except CsrError:
        raise
    except _UNREADABLE:
        raise CsrError("csr: not a certificate signing request (PKCS #10) in PEM") from None
    return Requested(agent_id, key)


def _name(subject: x509.Name) -> str:
    attributes = list(subject)
    if len(attributes) != 1 or attributes[0].oid != NameOID.COMMON_NAME:
        raise CsrError("csr: the subject is not CN=<agent id> alone")
    try:
        return _AGENT_ID.validate_python(attributes[0].value)
    except ValidationError:
        raise CsrError(
            "csr: CN is no agent id: 1 to 64 lower case letters, digits and . _ -; its ends are letters or digits"
        ) from None


def _check_extensions(found: x509.CertificateSigningRequest, agent_id: str) -> None:
    if any(attribute.oid != _EXTENSION_REQUEST for attribute in found.attributes):
        raise CsrError("csr: it has attributes; an agent's has none")
    for extension in found.extensions:
        names = extension.value
        if not isinstance(names, x509.SubjectAlternativeName) or list(names) != [x509.DNSName(agent_id)]:
            raise CsrError(f"csr: it asks for the extension {extension.oid.dotted_string}; leave it out")
