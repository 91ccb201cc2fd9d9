"""Over real TLS: a client's certificate is asked for, verified, and handed on as API Gateway would."""

from __future__ import annotations

import re
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from infra.standalone.certificate import client_certificate
from infra.standalone.settings import StartError, tls_context
from tests.agent.authority import Authority
from tests.infra.standalone.fleet_ca import DAY, SERVER, FleetCa, client_context
from tests.infra.standalone.listening import Answer, Listening, listening, read_answer, request

TOKEN = "Authorization: Bearer x"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("server"))


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> FleetCa:
    return FleetCa(tmp_path_factory.mktemp("fleet"))


@pytest.fixture(scope="module")
def server(authority: Authority, fleet: FleetCa) -> Iterator[Listening]:
    with listening(tls=tls_context(authority.server_chain, authority.server_chain, fleet.file)) as running:
        yield running


def ask(server: Listening, context: ssl.SSLContext) -> Answer:
    """One request; in TLS 1.3 a client hears only after its handshake that its certificate was refused."""
    with server.connect(context) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        assert connection.version() == "TLSv1.3"
        connection.sendall(request("GET", "/v1/config", TOKEN))
        return read_answer(connection)


def test_the_certificate_comes_in_the_shape_of_api_gateway(
    server: Listening, authority: Authority, fleet: FleetCa
) -> None:
    file = fleet.certificate("db-1", serial=0x0A1B2C3D4E5F)
    assert ask(server, client_context(authority.ca_file, file)).status == 200
    for event in (server.asked[-1], server.events[-1]):
        shown = event["requestContext"]["authentication"]["clientCert"]
        assert shown.keys() == {"clientCertPem", "subjectDN", "issuerDN", "serialNumber", "validity"}
        given = x509.load_pem_x509_certificate(file.read_bytes())
        assert x509.load_pem_x509_certificate(shown["clientCertPem"].encode()) == given
        assert shown["subjectDN"] == "CN=db-1"
        assert shown["issuerDN"] == "O=pgAnalytics,CN=the fleet"
        assert shown["serialNumber"] == "0a:1b:2c:3d:4e:5f"
        # Such as `May 28 12:30:02 2019 GMT`.
        validity = shown["validity"]
        assert validity.keys() == {"notBefore", "notAfter"}
        assert all(re.fullmatch(r"[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} GMT", each) for each in validity.values())
        assert ssl.cert_time_to_seconds(validity["notAfter"]) == given.not_valid_after_utc.timestamp()


def test_who_has_no_certificate_may_come_and_is_seen_to_have_none(server: Listening, authority: Authority) -> None:
    assert ask(server, client_context(authority.ca_file)).status == 200
    assert "authentication" not in server.asked[-1]["requestContext"]


def test_a_header_makes_no_certificate(server: Listening, authority: Authority) -> None:
    with server.connect(client_context(authority.ca_file)) as connection:
        connection.sendall(request("GET", "/v1/config", TOKEN, "X-Amzn-Mtls-Clientcert: CN=db-1", "client_cert: x"))
        assert read_answer(connection).status == 200
    assert "authentication" not in server.events[-1]["requestContext"]


def _tampered(file: Path) -> Path:
    """The certificate with another bit in its signature, and the key that belongs to it."""
    certificate, mark, key = file.read_text().partition("-----BEGIN PRIVATE KEY-----")
    der = bytearray(ssl.PEM_cert_to_DER_cert(certificate.strip()))
    der[-1] ^= 1
    file.write_text(ssl.DER_cert_to_PEM_cert(bytes(der)) + mark + key)
    return file


BAD: dict[str, Callable[[FleetCa, Path], Path]] = {
    "expired": lambda fleet, _: fleet.certificate("late", until=-DAY),
    "for servers": lambda fleet, _: fleet.certificate("server", usage=SERVER),
    "tampered": lambda fleet, _: _tampered(fleet.certificate("changed")),
    "of another authority of that name": lambda _, folder: FleetCa(folder).certificate("db-1"),
    "of an unknown authority": lambda _, folder: FleetCa(folder, "unknown").certificate("db-1"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_certificate_that_is_not_good_fails_the_handshake(
    server: Listening, authority: Authority, fleet: FleetCa, fault: str, tmp_path: Path
) -> None:
    context = client_context(authority.ca_file, BAD[fault](fleet, tmp_path))
    before = len(server.events), len(server.asked)
    with pytest.raises((ssl.SSLError, ConnectionError)):
        ask(server, context)
    assert (len(server.events), len(server.asked)) == before
    assert ask(server, client_context(authority.ca_file)).status == 200


def test_the_certificate_is_read_once_a_connection(
    server: Listening, authority: Authority, fleet: FleetCa, monkeypatch: pytest.MonkeyPatch
) -> None:
    read = []

    def counting(tls: ssl.SSLObject | None) -> dict[str, Any] | None:
        read.append(tls)
        return client_certificate(tls)

    monkeypatch.setattr("infra.standalone.protocol.client_certificate", counting)
    with server.connect(client_context(authority.ca_file, fleet.certificate("db-1"))) as connection:
        for _ in range(3):
            connection.sendall(request("GET", "/v1/config", TOKEN))
            assert read_answer(connection).status == 200
    assert len(read) == 1
    assert all("authentication" in event["requestContext"] for event in server.events[-3:])


def test_connections_do_not_see_each_others_certificate(
    server: Listening, authority: Authority, fleet: FleetCa
) -> None:
    names = ["db-1", "db-2", None]
    contexts = [client_context(authority.ca_file, fleet.certificate(name) if name else None) for name in names]
    connections = [server.connect(context) for context in contexts]
    for _ in range(2):
        for name, connection in zip(names, connections, strict=True):
            connection.sendall(request("GET", "/v1/config", TOKEN))
            read_answer(connection)
            shown = server.events[-1]["requestContext"].get("authentication")
            assert (shown and shown["clientCert"]["subjectDN"]) == (name and f"CN={name}")
    for connection in connections:
        connection.close()


def test_a_session_is_not_taken_up_again(server: Listening, authority: Authority, fleet: FleetCa) -> None:
    """Taken up again, a certificate that has expired since would not be verified once more."""
    context = client_context(authority.ca_file, fleet.certificate("db-1"))
    with server.connect(context) as connection:
        assert isinstance(connection, ssl.SSLSocket)
        connection.sendall(request("GET", "/v1/config", TOKEN))
        read_answer(connection)
        assert connection.session is None or not connection.session.has_ticket


def test_without_authorities_nobody_is_asked(authority: Authority, fleet: FleetCa) -> None:
    with listening(tls=tls_context(authority.server_chain, authority.server_chain)) as server:
        assert ask(server, client_context(authority.ca_file, fleet.certificate("db-1"))).status == 200
    assert "authentication" not in server.events[-1]["requestContext"]


@pytest.mark.parametrize(
    ("content", "says"), [(None, "No such file"), ("", "expected are certificates"), ("nonsense", "expected are")]
)
def test_a_file_of_authorities_that_cannot_be_used_is_named(
    authority: Authority, tmp_path: Path, content: str | None, says: str
) -> None:
    file = tmp_path / "authorities.pem"
    if content is not None:
        file.write_text(content)
    with pytest.raises(StartError, match=says) as error:
        tls_context(authority.server_chain, authority.server_chain, file)
    assert str(file) in str(error.value)


def test_a_clients_certificate_is_no_authority(authority: Authority, fleet: FleetCa) -> None:
    file = fleet.certificate("db-1")
    with pytest.raises(StartError, match="there is none among these certificates; expected are"):
        tls_context(authority.server_chain, authority.server_chain, file)


def test_every_authority_of_the_file_counts(authority: Authority, fleet: FleetCa, tmp_path: Path) -> None:
    """So that the fleet's authority can be replaced while agents still have certificates of the old one."""
    newer = FleetCa(tmp_path, "the newer one")
    both = tmp_path / "both.pem"
    both.write_bytes(newer.file.read_bytes() + fleet.file.read_bytes())
    with listening(tls=tls_context(authority.server_chain, authority.server_chain, both)) as server:
        for each in (newer, fleet):
            assert ask(server, client_context(authority.ca_file, each.certificate("db-1"))).status == 200
