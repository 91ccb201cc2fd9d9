"""What may stand in a request for a certificate: a name and its key; all else is refused by name."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import AttributeOID, ExtendedKeyUsageOID, NameOID
from hypothesis import given
from hypothesis import strategies as st

from functions.authorizer.csr import CsrError, read
from tests.functions.identities import Agent, text

_CN, _O = NameOID.COMMON_NAME, NameOID.ORGANIZATION_NAME


def _csr(key: Any = None, *names: Any, **more: Any) -> str:
    subject = x509.Name([x509.NameAttribute(oid, value) for oid, value in names or ((NameOID.COMMON_NAME, "db-1"),)])
    builder = x509.CertificateSigningRequestBuilder().subject_name(subject)
    for extension in more.get("extensions", ()):
        builder = builder.add_extension(extension, critical=False)
    if "attribute" in more:
        builder = builder.add_attribute(AttributeOID.CHALLENGE_PASSWORD, more["attribute"])
    signing = key or ec.generate_private_key(ec.SECP256R1())
    return text(builder.sign(signing, None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256()))


def _forged() -> str:
    """A request whose signature is another's: its last bytes are changed."""
    request = x509.load_pem_x509_csr(_csr().encode())
    der = bytearray(request.public_bytes(Encoding.DER))
    der[-1] ^= 1
    return text(x509.load_der_x509_csr(bytes(der)))


def _of_a_version_to_come() -> str:
    der = (
        x509.load_pem_x509_csr(_csr().encode()).public_bytes(Encoding.DER).replace(b"\x02\x01\x00", b"\x02\x01\x38", 1)
    )
    return _pem(der)


def _pem(der: bytes) -> str:
    body = base64.encodebytes(der).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{body}-----END CERTIFICATE REQUEST-----\n"


def _requests() -> Iterator[tuple[str, str]]:
    yield _csr(rsa.generate_private_key(65537, 2048)), "not one of ECDSA on P-256"
    yield _csr(ec.generate_private_key(ec.SECP384R1())), "not one of ECDSA on P-256"
    yield _csr(ec.generate_private_key(ec.SECP256K1())), "not one of ECDSA on P-256"
    yield _csr(ed25519.Ed25519PrivateKey.generate()), "not one of ECDSA on P-256"
    yield _forged(), "signature"
    yield _of_a_version_to_come(), "not a certificate signing request"
    yield _csr(None, (_CN, "db-1"), (_O, "evil")), "CN=<agent id> alone"
    yield _csr(None, (_CN, "db-1"), (_CN, "db-2")), "CN=<agent id> alone"
    yield _csr(None, (_O, "db-1")), "CN=<agent id> alone"
    yield _csr(None, (_CN, "../etc")), "CN is no agent id"
    yield _csr(None, (_CN, "DB-1")), "CN is no agent id"
    yield _csr(None, (_CN, "db-1\n")), "CN is no agent id"
    yield _csr(None, (_CN, "db-1\x00evil")), "CN is no agent id"
    yield _csr(None, (_CN, "*")), "CN is no agent id"
    yield _csr(extensions=[x509.BasicConstraints(True, None)]), "asks for the extension 2.5.29.19"
    yield _csr(extensions=[x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])]), "asks for the extension"
    yield _csr(extensions=[x509.SubjectAlternativeName([x509.DNSName("db-2")])]), "asks for the extension 2.5.29.17"
    yield (
        _csr(extensions=[x509.SubjectAlternativeName([x509.DNSName("db-1"), x509.DNSName("db-2")])]),
        "asks for the extension 2.5.29.17",
    )
    yield _csr(attribute=b"password"), "it has attributes"
    yield "no PEM", "not a certificate signing request"
    yield _csr()[:-100], "not a certificate signing request"
    yield "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n", "not a certificate signing"
    yield "é", "not a certificate signing request"


@pytest.mark.parametrize(("csr", "reason"), list(_requests()))
def test_what_an_agent_does_not_ask_with_is_named(csr: str, reason: str) -> None:
    with pytest.raises(CsrError, match=f"^csr: .*{re.escape(reason)}"):
        read(csr)


def test_a_request_is_of_a_name_and_its_key() -> None:
    agent = Agent("db-117")
    found = read(agent.csr())
    assert (found.agent_id, found.key) == ("db-117", agent.key.public_key())


def test_a_request_may_name_the_agent_as_a_host() -> None:
    csr = _csr(extensions=[x509.SubjectAlternativeName([x509.DNSName("db-1")])])
    assert read(csr).agent_id == "db-1"


@given(st.integers(0), st.binary(max_size=8))
def test_no_bytes_do_more_than_to_be_refused(place: int, other: bytes) -> None:
    der = x509.load_pem_x509_csr(_GOOD.encode()).public_bytes(Encoding.DER)
    place %= len(der)
    changed = der[:place] + other + der[place + len(other) :]
    try:
        read(_pem(changed))
    except CsrError:
        return
    assert changed == der


_GOOD = Agent("db-1").csr()
