"""A real server process on a real PostgreSQL: what was accepted is loaded, whatever happens in between."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import ssl
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from agent.settings import ServerSettings
from agent.transports.http import ServerClient
from agent.transports.outcome import Delivered, Later, Rejected
from functions.authorizer.authority import create
from functions.authorizer.authority import load as load_authority
from infra.standalone.embedded import EmbeddedPostgres, embedded_postgres
from infra.standalone.settings import StartError, tls_context
from tests.infra.standalone.serving import (
    SECONDS,
    Serving,
    batch,
    command,
    connected,
    loaded,
    make_keys,
    new_store,
    serving,
    until,
    upload,
)
from tests.servers import in_memory

pytestmark = pytest.mark.processes


@pytest.fixture
def store(server: EmbeddedPostgres) -> str:
    return new_store(server)


@pytest.fixture
def running(tmp_path: Path, store: str) -> Iterator[Serving]:
    with serving(tmp_path, store) as process:
        yield process


@pytest.fixture
def own_store() -> Iterator[tuple[EmbeddedPostgres, str]]:
    """A PostgreSQL that a test may stop."""
    with embedded_postgres(below=in_memory()) as own:
        yield own, new_store(own)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that signs itself, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "pganalytics test")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    folder = tmp_path_factory.mktemp("tls")
    cert_file, key_file = folder / "cert.pem", folder / "key.pem"
    key_file.touch(0o600)
    cert_file.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return cert_file, key_file


def test_a_batch_goes_through_the_door_into_the_store(running: Serving, store: str) -> None:
    data = batch(42)
    answer = running.post(data, running.token())
    assert answer.status == 202, answer.data
    assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "Server" not in answer.headers
    assert "Date" in answer.headers
    until(lambda: loaded(store) == 1)
    with connected(store) as connection:
        assert connection.execute("select threads from metric.host_load").fetchall() == [(42,)]
        assert connection.execute("select collector, status from store.run").fetchall() == [("host_load", "ok")]
    assert (running.folder / "data" / "bucket" / answer.json()["key"]).read_bytes() == data


def test_systemd_is_told_when_it_listens_and_when_it_stops(tmp_path: Path, store: str) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as door:
        door.bind(str(tmp_path / "notify"))
        door.settimeout(SECONDS)
        with serving(tmp_path, store, NOTIFY_SOCKET=str(tmp_path / "notify")) as running:
            assert door.recv(100) == b"READY=1"
            assert running.request("GET", "/v1/version").status == 200
            assert running.stop() == 0
        assert door.recv(100) == b"STOPPING=1"


def test_a_batch_sent_twice_is_loaded_once(running: Serving, store: str) -> None:
    data, token = batch(), running.token()
    assert [running.post(data, token).status for _ in range(2)] == [202, 202]
    running.post(batch(2), token)
    until(lambda: loaded(store) == 2)
    with connected(store) as connection:
        assert connection.execute("select count(*) from metric.host_load").fetchone() == (2,)


def test_tokens_open_what_they_say_and_nothing_else(running: Serving) -> None:
    data = batch()
    assert running.post(data, "nonsense").status == 403
    assert running.post(data, running.token("--operator", "alice", "--role", "admin")).status == 403
    assert running.post(data, running.token("--agent", "db-2")).status == 403
    assert running.request("POST", "/v1/batches", data).status == 401
    answer = running.request("GET", "/v1/agents", headers={"Authorization": f"Bearer {running.token()}"})
    assert answer.status == 403
    assert running.request("GET", "/v1/version").status == 200


def test_a_token_that_is_no_longer_good_costs_the_agent_no_batch(running: Serving, store: str, tmp_path: Path) -> None:
    """The agent's own client: what it is told of its token, it does not take for a fault of the batch."""
    token_file = tmp_path / "token"
    client = ServerClient(ServerSettings(url=running.url, token_file=token_file))
    data, token = batch(), running.token()
    token_file.write_text(f"{token}x")
    assert isinstance(client.send(upload(data)), Later)
    token_file.write_text(token)
    assert isinstance(client.send(upload(batch(agent_id="db-2"))), Rejected)
    assert isinstance(client.send(upload(data)), Delivered)
    until(lambda: loaded(store) == 1)


def test_every_function_answers(running: Serving) -> None:
    agent = {"Authorization": f"Bearer {running.token()}"}
    viewer = {"Authorization": f"Bearer {running.token('--operator', 'alice', '--role', 'viewer')}"}
    for path, headers in (
        ("/v1/health", {}),
        ("/v1/openapi.json", {}),
        ("/v1/config", agent),
        ("/v1/agents", viewer),
        ("/v1/targets", viewer),
    ):
        answer = running.request("GET", path, headers=headers)
        assert answer.status == 200, (path, answer.data)
        assert isinstance(answer.json(), dict)


def test_partitions_are_made_at_the_start(running: Serving, store: str) -> None:
    assert running.log("partitions")["made"] > 0


def test_a_body_that_is_too_large_is_refused_and_the_server_goes_on(running: Serving) -> None:
    token = running.token()
    assert running.post(b"x" * 7_000_000, token).status == 413
    assert running.post(batch(), token).status == 202


def test_many_agents_at_once(running: Serving, store: str) -> None:
    """The first requests of a process come together, too."""
    agents = [f"db-{number}" for number in range(24)]
    tokens = {agent: running.token("--agent", agent) for agent in agents}
    with ThreadPoolExecutor(len(agents)) as senders:
        sent = [senders.submit(running.post, batch(agent_id=agent), tokens[agent]) for agent in agents]
        assert {each.result().status for each in sent} == {202}
    until(lambda: loaded(store) == len(agents))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_after_the_request_in_hand(running: Serving, store: str, number: int) -> None:
    data = batch()
    head = (
        f"POST /v1/batches HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {running.token()}\r\n"
        f"Content-Type: application/gzip\r\nContent-Length: {len(data)}\r\nExpect: 100-continue\r\n\r\n"
    )
    with socket.create_connection(running.address, 20) as connection, connection.makefile("rb") as answer:
        connection.sendall(head.encode())
        assert answer.readline() == b"HTTP/1.1 100 Continue\r\n"  # the body is being waited for
        running.process.send_signal(number)
        until(lambda: _refused(running.address))
        connection.sendall(data)
        answer.readline()
        assert answer.readline() == b"HTTP/1.1 202 Accepted\r\n"
    assert running.wait() == 0
    assert running.log("stopped")
    # Loaded before the end, or at the next start.
    with serving(running.folder, store):
        until(lambda: loaded(store) == 1)


def _refused(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 5).close()
    except ConnectionRefusedError:
        return True
    return False


def test_an_outage_of_the_store_reaches_no_agent(tmp_path: Path, own_store: tuple[EmbeddedPostgres, str]) -> None:
    postgres, dsn = own_store
    postgres.stop()
    with serving(tmp_path, dsn) as running:
        token = running.token()
        assert [running.post(batch(seq), token).status for seq in range(12)] == [202] * 12
        running.log("not loaded, will be tried again")
        assert running.request("GET", "/v1/health").status == 503
        postgres.start()
        until(lambda: loaded(dsn) == 12)
        assert running.request("GET", "/v1/health").status == 200
        assert running.stop() == 0


def test_what_was_accepted_survives_kill_9(tmp_path: Path, own_store: tuple[EmbeddedPostgres, str]) -> None:
    postgres, dsn = own_store
    postgres.stop()  # so that nothing is loaded before the end
    with serving(tmp_path, dsn) as running:
        assert running.post(batch(), running.token()).status == 202
        assert running.stop(signal.SIGKILL) == -signal.SIGKILL
    postgres.start()
    with serving(tmp_path, dsn) as running:
        until(lambda: loaded(dsn) == 1)
        assert running.stop() == 0


def test_the_bucket_alone_is_enough(tmp_path: Path, own_store: tuple[EmbeddedPostgres, str]) -> None:
    """The queue is lost, and the store is away while the server starts."""
    postgres, dsn = own_store
    with serving(tmp_path, dsn) as running:
        assert running.post(batch(1), running.token()).status == 202
        until(lambda: loaded(dsn) == 1)
        postgres.stop()
        assert running.post(batch(2), running.token()).status == 202
        running.stop(signal.SIGKILL)
    for file in (tmp_path / "data").glob("queue.sqlite3*"):
        file.unlink()
    with serving(tmp_path, dsn) as running:
        running.log("not reconciled, will be tried again")
        assert running.request("GET", "/v1/version").status == 200
        postgres.start()
        assert running.log("reconciled")["queued"] == 1
        until(lambda: loaded(dsn) == 2)


def test_tls_1_3_is_the_minimum(tmp_path: Path, store: str, certificate: tuple[Path, Path]) -> None:
    cert, key = certificate
    with serving(tmp_path, store, "--tls-cert", cert, "--tls-key", key) as running:
        assert running.url.startswith("https://")
        assert running.post(batch(), running.token(), cert).status == 202
        old = ssl.create_default_context(cafile=cert)
        old.maximum_version = ssl.TLSVersion.TLSv1_2

        def refused() -> str:
            with socket.create_connection(running.address, 20) as plain, pytest.raises(ssl.SSLError) as failed:
                old.wrap_socket(plain, server_hostname="127.0.0.1")
            return str(failed.value)

        # Never let in; why is told too, unless on a busy machine the connection's end overtakes it.
        until(lambda: "protocol" in refused().lower())
        new = ssl.create_default_context(cafile=cert)
        with (
            socket.create_connection(running.address, 20) as plain,
            new.wrap_socket(plain, server_hostname="127.0.0.1") as wrapped,
        ):
            assert wrapped.version() == "TLSv1.3"
        assert running.stop() == 0


def test_the_ready_file_says_where(tmp_path: Path, server: EmbeddedPostgres) -> None:
    ready = tmp_path / "ready"
    ready.write_text("of the server before")
    store = new_store(server, migrated=False)
    with serving(tmp_path, store, "--migrate", "--ready-file", ready) as running:
        running.log("listening")
        assert json.loads(ready.read_text()) == {"url": running.url, "pid": running.process.pid}
        assert running.log("migrated")["before"] is None
        assert running.request("GET", "/v1/health").status == 200


def test_logs_hold_no_secret(tmp_path: Path, server: EmbeddedPostgres) -> None:
    dsn = f"{new_store(server)} password=the-password"
    with serving(tmp_path, dsn) as running:
        token = running.token()
        running.post(batch(), token)
        running.post(b"nonsense", token)
        running.post(batch(), f"{token}x")
        until(lambda: loaded(dsn) == 1)
        assert running.stop() == 0
    log = json.dumps(running.lines)
    assert "the-password" not in log
    assert token not in log
    assert running.keys_file.read_text() not in log


def test_two_servers_do_not_share_a_folder(running: Serving, store: str) -> None:
    running.log("listening")
    again = _serve(running.folder, PGANALYTICS_STORE_DSN=store)
    assert (again.code, again.message) == (
        2,
        f"{running.folder / 'data'}: another server uses this folder; stop it, or give this one another",
    )


class _Ended:
    def __init__(self, code: int, stderr: str) -> None:
        self.code = code
        (line,) = stderr.strip().splitlines()  # one line, and no traceback
        self.message = line.removeprefix("pganalytics: ")


def _serve(folder: Path, *arguments: str | Path, **environment: str) -> _Ended:
    """A server that does not start."""
    keys = folder / "keys.json"
    if not keys.exists():
        make_keys(keys)
    told = ("--port", "0", "--data-dir", folder / "data", "--keys-file", keys, *arguments)
    done = command("serve", *told, **{"PGANALYTICS_STORE_DSN": "host=127.0.0.1 port=1", **environment})
    return _Ended(done.returncode, done.stderr)


def test_a_missing_keys_file_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    ended = _serve(tmp_path, "--keys-file", tmp_path / "none")
    assert ended.code == 2
    assert ended.message.endswith(f"is missing; make one: pganalytics keys create --keys-file {tmp_path / 'none'}")


def test_a_keys_file_that_others_can_read_is_refused(tmp_path: Path) -> None:
    keys = tmp_path / "keys.json"
    make_keys(keys)
    keys.chmod(0o644)
    ended = _serve(tmp_path)
    assert ended.code == 2
    assert "chmod 600" in ended.message


def test_a_folder_that_others_may_enter_is_refused(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir(mode=0o755)
    ended = _serve(tmp_path)
    assert (ended.code, ended.message) == (
        2,
        f"the folder {tmp_path / 'data'} is open to others: chmod 700 {tmp_path / 'data'}",
    )


def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("a file")
    ended = _serve(tmp_path)
    assert ended.code == 2
    assert f"the folder {tmp_path / 'data'}: File exists" in ended.message


def test_a_port_in_use_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = _serve(tmp_path, "--port", str(port))
    assert (ended.code, ended.message) == (
        2,
        f"127.0.0.1 port {port}: Address already in use; choose another host or port",
    )


def test_a_store_that_cannot_be_migrated_ends_the_start(tmp_path: Path) -> None:
    ended = _serve(tmp_path, "--migrate", PGANALYTICS_STORE_DSN="host=127.0.0.1 port=1 password=the-password")
    assert ended.code == 2
    assert "refused" in ended.message
    assert "PGANALYTICS_STORE_DSN" in ended.message
    assert "the-password" not in ended.message


def test_tls_files_that_do_not_belong_together_are_named(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, _ = certificate
    ended = _serve(tmp_path, "--tls-cert", cert, "--tls-key", cert)
    assert ended.code == 2
    assert f"the TLS files {cert} and {cert}" in ended.message
    missing = _serve(tmp_path, "--tls-cert", cert, "--tls-key", tmp_path / "none")
    assert (missing.code, missing.message) == (2, f"the TLS file {tmp_path / 'none'}: No such file or directory")


def test_a_tls_key_that_others_can_read_is_refused(tmp_path: Path, certificate: tuple[Path, Path]) -> None:
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    for made, file in zip((cert, key), certificate, strict=True):
        shutil.copyfile(file, made)
    for mode in (0o644, 0o602):
        key.chmod(mode)
        ended = _serve(tmp_path, "--tls-cert", cert, "--tls-key", key)
        assert ended.code == 2
        assert f"the TLS key {key}: others than its owner can read or write it; chmod 600 it" in ended.message


@pytest.mark.skipif(os.geteuid() != 0, reason="gives a file to root")
def test_a_tls_key_of_root_may_be_read_by_a_group(certificate: tuple[Path, Path], tmp_path: Path) -> None:
    cert, key = certificate[0], Path(shutil.copyfile(certificate[1], tmp_path / "key.pem"))
    key.chmod(0o640)
    tls_context(cert, key)
    os.chown(key, 1, 1)
    with pytest.raises(StartError, match="chmod 600"):
        tls_context(cert, key)


def test_a_missing_authority_is_named_with_the_command_that_makes_it(tmp_path: Path) -> None:
    ended = _serve(tmp_path, "--authority-file", tmp_path / "none")
    assert ended.code == 2
    mend = f"is missing; make one: pganalytics authority create --authority-file {tmp_path / 'none'}"
    assert ended.message.endswith(mend)


@pytest.fixture
def authority_file(tmp_path: Path) -> Path:
    file = tmp_path / "authority.pem"
    file.touch(0o600)
    file.write_text(create("fleet", 30, datetime.now(UTC)))
    return file


def test_an_authority_that_others_can_read_is_refused(tmp_path: Path, authority_file: Path) -> None:
    authority_file.chmod(0o640)
    ended = _serve(tmp_path, "--authority-file", authority_file)
    assert ended.code == 2
    assert "chmod 600" in ended.message


def test_authorities_that_do_not_trust_what_is_signed_here_are_named(
    tmp_path: Path, authority_file: Path, certificate: tuple[Path, Path]
) -> None:
    """Every agent would enrol, and none could connect."""
    cert, key = certificate
    tls = ("--tls-cert", cert, "--tls-key", key, "--client-ca", cert)
    ended = _serve(tmp_path, "--authority-file", authority_file, *tls)
    assert ended.code == 2
    assert f"client_ca: it lacks a certificate of the authority in {authority_file}" in ended.message
    assert "pganalytics authority show" in ended.message


def test_one_server_with_everything(tmp_path: Path, store: str, certificate: tuple[Path, Path]) -> None:
    """Authority, client certificates and limits as the command is told of them."""
    cert, key = certificate
    authority = tmp_path / "authority.pem"
    authority.touch(0o600)
    authority.write_text(create("fleet", 30, datetime.now(UTC)))
    client_ca = tmp_path / "client-ca.pem"
    client_ca.write_text(load_authority(authority).pem)
    options = (
        "--authority-file",
        authority,
        "--client-ca",
        client_ca,
        "--agent-rate",
        "0.001",
        "--address-rate",
        "0.5",
    )
    with serving(tmp_path, store, "--tls-cert", cert, "--tls-key", key, *options) as running:
        # Enrolment is open; what was sent is no request for a certificate.
        headers = {"Content-Type": "application/json", "Authorization": f"Bearer pge_{'x' * 43}"}
        asked = running.request("POST", "/v1/agents", b'{"csr": "none"}', headers, cert)
        assert asked.status in {401, 422}, asked.data
        assert asked.headers["Strict-Transport-Security"] == "max-age=31536000"
        # An agent's token is not good without a certificate that it is bound to.
        agent = running.post(batch(), running.token(), cert)
        assert agent.status == 403, agent.data
        operator = {"Authorization": f"Bearer {running.token('--operator', 'alice', '--role', 'viewer')}"}
        answers = [running.request("GET", "/v1/targets", headers=operator, ca=cert) for _ in range(2)]
        assert [answer.status for answer in answers] == [200, 429]
        assert int(answers[1].headers["Retry-After"]) > 100
        until(lambda: running.request("GET", "/nowhere", ca=cert).status == 429)
        assert running.request("GET", "/v1/health", ca=cert).status == 200


def test_without_an_authority_enrolment_names_the_mend(running: Serving) -> None:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer pge_{'x' * 43}"}
    answer = running.request("POST", "/v1/agents", b'{"csr": "none"}', headers)
    assert answer.status == 501
    assert "authority" in answer.json()["detail"]


def test_the_connection_string_may_be_a_credential_of_systemd(tmp_path: Path, store: str) -> None:
    credential = tmp_path / "credentials" / "pganalytics.store_dsn"
    credential.parent.mkdir()
    credential.write_text(f"{store}\n")
    with serving(tmp_path, None, CREDENTIALS_DIRECTORY=str(credential.parent)) as running:
        assert running.request("GET", "/v1/health").status == 200


def test_the_functions_know_one_place_of_the_connection_string(tmp_path: Path, store: str) -> None:
    """The option stands before a variable that says another file."""
    right, wrong = tmp_path / "right", tmp_path / "wrong"
    for file, dsn in ((right, store), (wrong, "host=127.0.0.1 port=1")):
        file.touch(0o600)
        file.write_text(dsn)
    with serving(tmp_path, None, "--store-dsn-file", right, PGANALYTICS_STORE_DSN_FILE=str(wrong)) as running:
        assert running.request("GET", "/v1/health").status == 200


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--host", "0.0.0.0"), "tls_cert and tls_key, or plain_http"),
        (("--client-ca", "c"), "client_ca: clients show certificates over TLS only"),
        (("--agent-rate", "-1"), "--agent-rate: "),
        (("--address-rate", "nan"), "--address-rate: "),
        (("--max-connections", "0"), "--max-connections: "),
        (("--address-connections", "0"), "--address-connections: "),
        (("--tls-cert", "c"), "tls_cert and tls_key come together"),
        (("--bucket-url", "ftp://x"), "--bucket-url: a bucket is s3://name or file:///folder"),
        (("--ready-file", "/nonexistent/ready"), "the ready file /nonexistent/ready: No such file or directory"),
        (("--port", "70000"), "--port: "),
        (("--store-dsn-file", "/nonexistent"), "--store-dsn-file /nonexistent: No such file or directory"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path: Path, arguments: tuple[str, ...], names: str) -> None:
    ended = _serve(tmp_path, *arguments)
    assert ended.code == 2
    assert names in ended.message


@pytest.mark.parametrize("dsn", ["", "nonsense the-password", "postgresql://u:the-password@h:port/x?nope=1"])
def test_a_wrong_connection_string_is_named_and_not_shown(tmp_path: Path, dsn: str) -> None:
    ended = _serve(tmp_path, PGANALYTICS_STORE_DSN=dsn)
    assert ended.code == 2
    assert "PGANALYTICS_STORE_DSN" in ended.message
    assert "the-password" not in ended.message


@pytest.mark.parametrize("variable", ["PGANALYTICS_KEEP_DAYS", "PGANALYTICS_ROLLUP_SECONDS"])
def test_a_wrong_variable_of_a_function_is_named(tmp_path: Path, variable: str) -> None:
    ended = _serve(tmp_path, **{variable: "none"})
    assert ended.code == 2
    assert ended.message.startswith(f"{variable}: ")


def test_what_it_writes_is_private(running: Serving) -> None:
    running.post(batch(), running.token())
    for path in (running.folder / "data").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path
    assert (running.folder / "data").stat().st_mode & 0o077 == 0
