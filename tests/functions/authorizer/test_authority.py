"""The authority signs agents' certificates and nothing else; a file that is none says what to mend."""

from __future__ import annotations

import os
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from functions.authorizer.authority import Authority, AuthorityError, create, load, parse, pem, sign
from tests.functions.identities import Agent, write

NOW = datetime.now(UTC)


def _parsed(name: str = "test", days: int = 3650) -> Authority:
    return parse(create(name, days, NOW).encode(), "test")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write(tmp_path / "authority.pem", create("fleet", 3650, NOW))


def test_the_authority_signs_certificates_of_agents_and_no_further_authority() -> None:
    (certificate,) = _parsed().certificates
    extensions = certificate.extensions
    constraints = extensions.get_extension_for_class(x509.BasicConstraints)
    assert (constraints.critical, constraints.value) == (True, x509.BasicConstraints(True, 0))
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert (usage.value.key_cert_sign, usage.value.crl_sign, usage.value.digital_signature) == (True, True, False)
    assert certificate.not_valid_after_utc - NOW > timedelta(days=3649)


def test_serial_numbers_are_chance() -> None:
    authority, key = _parsed(), Agent().key.public_key()
    serials = [sign(authority, "db-1", key, NOW).serial_number for _ in range(20)]
    assert len(set(serials)) == 20
    assert all(0 < serial < 2**159 for serial in serials)
    assert max(serials) > 2**140


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not on this machine")
def test_openssl_trusts_what_the_authority_signed(tmp_path: Path) -> None:
    authority = _parsed()
    trusted, agent = tmp_path / "trusted.pem", tmp_path / "agent.pem"
    trusted.write_text(_parsed("older").pem + authority.pem)
    agent.write_text(pem(sign(authority, "db-1", Agent().key.public_key(), NOW)))
    verify = ["openssl", "verify", "-x509_strict", "-purpose", "sslclient", "-CAfile", str(trusted), str(agent)]
    done = subprocess.run(verify, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, f"{agent}: OK\n"), done.stderr
    verify[4] = "sslserver"
    assert subprocess.run(verify, capture_output=True, check=False).returncode != 0


def test_each_certificate_is_an_audience_and_the_first_is_told() -> None:
    new, old = create("new", 365, NOW), _parsed("old")
    both = parse((new + old.pem).encode(), "test")
    alone = parse(new.encode(), "test")
    assert both.audiences == (*alone.audiences, *old.audiences)
    assert all(len(each) == len("pganalytics:") + 32 for each in both.audiences)
    assert both.pem == alone.pem + old.pem


def test_a_file_is_read_again_when_it_has_changed(file: Path) -> None:
    first = load(file)
    assert load(file) is first
    write(file, create("other", 365, NOW))
    os.utime(file, ns=(0, 1))
    assert load(file).audiences != first.audiences


def test_nothing_of_the_key_is_shown(file: Path) -> None:
    authority = load(file)
    number = authority.key.private_numbers().private_value
    for shown in (repr(authority), str(authority), authority.pem):
        assert "PRIVATE" not in shown
        assert str(number) not in shown


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666])
def test_a_file_that_others_can_use_is_refused(file: Path, mode: int) -> None:
    file.chmod(mode)
    with pytest.raises(AuthorityError, match=r"authority\.pem: .*chmod 600"):
        load(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AuthorityError, match=r"none\.pem: No such file.*pganalytics authority create"):
        load(tmp_path / "none.pem")


def _encrypted() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")).decode()


def _other(key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> str:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode() + _parsed().pem


def _rsa() -> str:
    key = rsa.generate_private_key(65537, 2048)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "rsa")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, NOW, NOW + timedelta(days=1))
    return pem(builder.add_extension(x509.BasicConstraints(True, 0), critical=True).sign(key, hashes.SHA256()))


def _issued() -> str:
    return pem(sign(_parsed(), "db-1", Agent().key.public_key(), NOW))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "no private key in PEM"),
        ("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key in PEM"),
        (_encrypted() + _parsed().pem, "without a password"),
        (_other(rsa.generate_private_key(65537, 2048)), "not one of ECDSA on P-256"),
        (_other(ec.generate_private_key(ec.SECP384R1())), "not one of ECDSA on P-256"),
        (create("a", 1, NOW).partition("-----BEGIN CERTIFICATE")[0], "no certificates in PEM"),
        (_other(ec.generate_private_key(ec.SECP256R1())), "not that of the key; put it first"),
        (create("a", 1, NOW) + _issued(), "certificate 2 is not that of an authority"),
        (create("a", 1, NOW) + _rsa(), "certificate 2 is not that of an authority"),
    ],
)
def test_what_is_no_authority_is_named(tmp_path: Path, text: str, reason: str) -> None:
    file = write(tmp_path / "authority.pem", text)
    with pytest.raises(AuthorityError, match=reason) as caught:
        load(file)
    assert str(file) in str(caught.value)
    assert "BEGIN" not in str(caught.value)
