"""Promises of enrolment: who has the token gets the name, once; all others are told why, and so is the audit log."""

from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.x509.oid import ExtendedKeyUsageOID

from contracts.identity import CERTIFICATE_DAYS, EnrolmentCreated, Enrolments
from functions.authorizer import parts
from functions.authorizer.certificates import MAX_CERTIFICATES_A_DAY
from functions.store import Connection
from tests.functions.events import agent_claims, operator_claims, problem
from tests.functions.identities import Agent, ask, enrolment, revoke

pytestmark = pytest.mark.usefixtures("identity")


def _refused(agent: Agent, token: str) -> tuple[int, str]:
    return problem(agent.ask_to_enrol(token))


def _used(connection: Connection, made: EnrolmentCreated) -> int:
    row = connection.execute("select used from identity.enrolment where id = %s", (made.id,)).fetchone()
    assert row is not None
    return int(row[0])


def _age(connection: Connection, made: EnrolmentCreated) -> None:
    connection.execute("update identity.enrolment set expires_at = now() where id = %s", (made.id,))


def _good(connection: Connection, name: str = "agent-1") -> list[bytes]:
    """The keys of an agent's certificates that are good."""
    found = connection.execute(
        "select distinct key_sha256 from identity.certificate where agent_id = %s and revoked_at is null", (name,)
    )
    return [row[0] for row in found]


def _audit(connection: Connection, action: str = "agent.enrol") -> list[tuple[Any, ...]]:
    found = connection.execute(
        "select actor_kind, actor, subject, outcome, detail from identity.audit where action = %s order by id",
        (action,),
    )
    return found.fetchall()


def test_an_agent_is_given_a_certificate_for_its_name_and_key() -> None:
    agent = Agent("db-117")
    enrolled = agent.enrol(enrolment(labels={"environment": "production"}).token)
    certificate = x509.load_pem_x509_certificate(enrolled.certificate.encode())
    assert [each.rfc4514_string() for each in certificate.subject.rdns] == ["CN=db-117"]
    assert certificate.public_key() == agent.key.public_key()
    assert enrolled.not_after == certificate.not_valid_after_utc
    assert abs(enrolled.not_after - datetime.now(UTC) - timedelta(days=CERTIFICATE_DAYS)) < timedelta(minutes=1)
    assert certificate.not_valid_before_utc < datetime.now(UTC) - timedelta(minutes=4)
    extensions = certificate.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(False, None)
    usage = extensions.get_extension_for_class(x509.KeyUsage).value
    assert (usage.digital_signature, usage.key_cert_sign, usage.crl_sign) == (True, False, False)
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert enrolled.labels == {"environment": "production"}
    assert "PRIVATE" not in enrolled.model_dump_json()


def test_whoever_trusts_the_authority_trusts_the_agent() -> None:
    agent = Agent()
    enrolled = agent.enrol()
    trusted = x509.load_pem_x509_certificates(enrolled.authority.encode())
    certificate = x509.load_pem_x509_certificate(enrolled.certificate.encode())
    certificate.verify_directly_issued_by(trusted[0])
    assert enrolled.audience.startswith("pganalytics:")


def test_the_store_and_the_log_never_have_the_token(
    connection: Connection, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    made = enrolment()
    Agent("a").enrol(made.token)
    refused = [made.token, made.token + "x", "pge_" + "A" * 43, made.token[:-1], "Bearer " + made.token]
    told = [Agent("b").ask_to_enrol(token) for token in refused]
    revoke("a")
    everything = [str(row) for row in connection.execute("select e::text from identity.enrolment e")]
    everything += [str(row) for row in connection.execute("select a::text from identity.audit a")]
    everything += [str(record.__dict__) for record in caplog.records]
    everything += [*capfd.readouterr(), repr(made), str(told)]
    secret = made.token.removeprefix("pge_")
    assert len(_audit(connection)) == 6
    assert not any(secret[:20] in each or secret[20:40] in each for each in everything)


def test_without_a_token_of_this_server_nobody_is_enrolled(connection: Connection) -> None:
    refused = [
        ("", "0 Authorization headers"),
        ("pge_" + "A" * 43, "unknown to this server"),
        ("pge_short", "not an enrolment token"),
        ("pge_" + "A" * 44, "not an enrolment token"),
        ("pgr_" + "A" * 43, "not an enrolment token"),
        ("' or true; --", "not an enrolment token"),
        ("a.b.c", "not an enrolment token"),
    ]
    for token, reason in refused:
        answer = Agent().ask_to_enrol(token)
        status, detail = problem(answer)
        assert (status, answer["headers"]["WWW-Authenticate"], reason in detail) == (401, "Bearer", True), token
        assert _audit(connection)[-1] == ("nobody", None, None, "refused", {"reason": detail})
    assert len(_audit(connection)) == len(refused)


def test_an_access_token_enrols_nobody() -> None:
    agent = Agent()
    agent.enrol()
    assert _refused(Agent("other"), agent.token())[0] == 401


def test_a_token_that_has_expired_is_refused(connection: Connection) -> None:
    made = enrolment()
    _age(connection, made)
    status, detail = _refused(Agent(), made.token)
    assert (status, "expired at" in detail) == (401, True)
    assert _used(connection, made) == 0


def test_a_token_that_was_revoked_is_refused_and_who_is_enrolled_stays(connection: Connection) -> None:
    made = enrolment(uses=5)
    agent = Agent()
    agent.enrol(made.token)
    for _ in range(2):
        gone = ask("DELETE", f"/v1/enrolments/{made.id}", claims=operator_claims("operator"))
        assert (gone["statusCode"], gone.get("body")) == (204, None) or gone["body"] == ""
    assert _refused(Agent("db-2"), made.token) == (401, "the enrolment token was revoked; make a new one")
    assert agent.token()


def test_a_token_that_is_used_up_is_refused(connection: Connection) -> None:
    made = enrolment(uses=2)
    Agent("db-1").enrol(made.token)
    Agent("db-2").enrol(made.token)
    status, detail = _refused(Agent("db-3"), made.token)
    assert (status, "used up" in detail) == (401, True)
    assert _used(connection, made) == 2
    kind, _, subject, outcome, noted = _audit(connection)[-1]
    assert (kind, subject, outcome) == ("nobody", "db-3", "refused")
    assert noted == {"reason": detail, "enrolment": made.id}


def test_the_same_request_again_is_one_use_even_when_the_token_is_used_up(connection: Connection) -> None:
    made, agent = enrolment(uses=1), Agent()
    first = agent.enrol(made.token)
    again = agent.enrol(made.token)
    assert (again.agent_id, again.audience, again.authority) == (first.agent_id, first.audience, first.authority)
    assert _used(connection, made) == 1
    assert agent.ask_for_token()["statusCode"] == 200
    _age(connection, made)
    assert _refused(agent, made.token)[0] == 401


def test_another_key_under_the_same_name_is_not_the_same_request(connection: Connection) -> None:
    made = enrolment(uses=3)
    Agent("db-1").enrol(made.token)
    status, detail = _refused(Agent("db-1"), made.token)
    assert (status, "--agent db-1" in detail) == (409, True)
    assert _used(connection, made) == 1


def test_a_request_that_is_repeated_without_end_is_told_to_stop(connection: Connection) -> None:
    made, agent = enrolment(), Agent()
    for _ in range(MAX_CERTIFICATES_A_DAY):
        agent.enrol(made.token)
    answer = agent.ask_to_enrol(made.token)
    assert problem(answer)[0] == 429
    assert int(answer["headers"]["Retry-After"]) > 0


def test_a_name_that_was_revoked_is_not_free() -> None:
    made, agent = enrolment(uses=5), Agent()
    agent.enrol(made.token)
    revoke(agent.name)
    assert _refused(agent, made.token)[0] == 409
    assert _refused(Agent(agent.name), enrolment().token)[0] == 409


def test_a_token_for_one_agent_enrols_this_one_only(connection: Connection) -> None:
    made = enrolment(agent_id="db-7", uses=2)
    status, detail = _refused(Agent("db-8"), made.token)
    assert (status, detail) == (409, "the enrolment token is for db-7, and not for db-8")
    assert Agent("db-7").enrol(made.token).agent_id == "db-7"
    assert _used(connection, made) == 1


def test_a_token_for_one_agent_puts_a_new_host_in_its_place(connection: Connection) -> None:
    old, new = Agent("db-7"), Agent("db-7")
    old.enrol()
    revoke("db-7", "the disk was lost")
    new.enrol(enrolment(agent_id="db-7", labels={"rack": "b"}).token)
    assert problem(old.ask_for_token())[0] == 401
    assert new.token()
    row = connection.execute("select labels, revoked_at, revoked_by, revoked_reason from identity.agent").fetchone()
    assert row == ({"rack": "b"}, None, None, None)
    assert len(_good(connection, "db-7")) == 1


def test_a_key_that_was_revoked_does_not_come_back_with_its_agent() -> None:
    agent = Agent("db-7")
    agent.enrol()
    revoke("db-7", "stolen")
    status, detail = _refused(agent, enrolment(agent_id="db-7").token)
    assert (status, "its key was revoked" in detail) == (422, True)


def test_a_host_that_lost_its_certificate_and_not_its_key_is_enrolled_anew(connection: Connection) -> None:
    agent = Agent("db-7")
    agent.enrol()
    agent.enrol(enrolment(agent_id="db-7").token)
    assert agent.token()
    assert len(_good(connection, "db-7")) == 1


def test_n_uses_are_n_however_many_come_at_once(connection: Connection) -> None:
    made = enrolment(uses=5)

    def enrol(number: int) -> int:
        try:
            return int(Agent(f"db-{number}").ask_to_enrol(made.token)["statusCode"])
        finally:
            parts.store().close()

    with ThreadPoolExecutor(10) as pool:
        answered = sorted(pool.map(enrol, range(10)))
    assert answered == [201] * 5 + [401] * 5
    assert _used(connection, made) == 5
    assert connection.execute("select count(*) from identity.agent").fetchone() == (5,)


def test_of_two_at_once_one_gets_the_name(connection: Connection) -> None:
    tokens = [enrolment().token for _ in range(6)]

    def enrol(token: str) -> int:
        try:
            return int(Agent("db-1").ask_to_enrol(token)["statusCode"])
        finally:
            parts.store().close()

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(enrol, tokens)) == [201] + [409] * 5
    assert len(_good(connection, "db-1")) == 1


def test_a_request_that_is_not_what_an_agent_asks_with_uses_nothing(connection: Connection) -> None:
    made = enrolment()
    answer = ask("POST", "/v1/agents", {"csr": Agent("DB 1").csr()}, token=made.token)
    status, detail = problem(answer)
    assert (status, "CN is no agent id" in detail) == (422, True)
    assert _used(connection, made) == 0
    assert _audit(connection)[-1][3:] == ("refused", {"reason": detail, "enrolment": made.id})


def test_a_body_that_breaks_the_contract_is_named() -> None:
    token = enrolment().token
    wrong: list[Any] = [{}, {"csr": ""}, {"csr": "x" * 9000}, {"csr": 1}, {"csr": "x", "name": "db-1"}, []]
    for body in wrong:
        assert problem(ask("POST", "/v1/agents", body, token=token))[0] == 422, body


def test_what_was_done_is_in_the_audit_log(connection: Connection) -> None:
    made, agent = enrolment(uses=2), Agent("db-1")
    enrolled = agent.enrol(made.token)
    ((kind, actor, subject, outcome, detail),) = _audit(connection)
    fingerprint = x509.load_pem_x509_certificate(enrolled.certificate.encode()).fingerprint(hashes.SHA256()).hex()
    assert (kind, actor, subject, outcome) == ("agent", "db-1", "db-1", "done")
    assert detail == {
        "enrolment": made.id,
        "fingerprint": fingerprint,
        "not_after": f"{enrolled.not_after:%Y-%m-%dT%H:%M:%SZ}",
        "replaced": False,
    }
    assert _audit(connection, "enrolment.create") == [
        ("operator", "ann", made.id, "done", {"uses": 2, "agent_id": None, "labels": {}})
    ]


def test_tokens_are_listed_the_newest_first_and_never_shown(connection: Connection) -> None:
    made = [enrolment(comment=f"number {number}") for number in range(5)]
    listed, cursor = [], None
    while True:
        query = {"limit": "2"} | ({"cursor": cursor} if cursor else {})
        answer = ask("GET", "/v1/enrolments", claims=operator_claims("operator"), query=query)
        page = Enrolments.model_validate_json(answer["body"])
        assert "pge_" not in answer["body"]
        assert "token" not in json.loads(answer["body"])["items"][0]
        listed += page.items
        cursor = page.next
        if cursor is None:
            break
    assert [each.id for each in listed] == [each.id for each in reversed(made)]
    assert (listed[0].comment, listed[0].created_by, listed[0].used) == ("number 4", "ann", 0)


def test_a_cursor_of_another_route_is_refused() -> None:
    for cursor in ("x", "WyJhIiwgImIiXQ", "W10"):
        answer = ask("GET", "/v1/enrolments", claims=operator_claims("operator"), query={"cursor": cursor})
        assert problem(answer)[0] == 400, cursor


def test_a_token_that_cannot_be_is_refused() -> None:
    wrong: list[dict[str, Any]] = [
        {"uses": 0},
        {"uses": True},
        {"uses": 100_001},
        {"expires_in": 59},
        {"expires_in": 366 * 86400},
        {"agent_id": "Not One"},
        {"labels": {"A": "b"}},
        {"labels": {"a": "b\n"}},
        {"labels": {str(number): "x" for number in range(33)}},
        {"comment": "a\x00b"},
        {"token": "pge_mine"},
    ]
    for asked in wrong:
        assert problem(ask("POST", "/v1/enrolments", asked, claims=operator_claims("operator")))[0] == 422, asked


def test_a_token_that_is_not_there_cannot_be_revoked() -> None:
    gone = ask("DELETE", "/v1/enrolments/0123456789abcdef", claims=operator_claims("operator"))
    assert problem(gone) == (404, "there is no enrolment token 0123456789abcdef")
    assert problem(ask("DELETE", "/v1/enrolments/x", claims=operator_claims("operator")))[0] == 422


def test_without_an_authority_nobody_enrols(monkeypatch: pytest.MonkeyPatch) -> None:
    made = enrolment()
    parts.environment.cache_clear()
    monkeypatch.delenv("PGANALYTICS_AUTHORITY_FILE")
    assert problem(Agent().ask_to_enrol(made.token))[0] == 501


def test_a_broken_authority_is_told_to_the_log_alone(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    made = enrolment()
    parts.environment.cache_clear()
    monkeypatch.setenv("PGANALYTICS_AUTHORITY_FILE", "/nowhere/authority.pem")
    answer = Agent().ask_to_enrol(made.token)
    status, detail = problem(answer)
    assert (status, "/nowhere" in detail) == (503, False)
    assert "/nowhere/authority.pem: No such file" in caplog.text


def test_a_store_that_is_down_is_to_be_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made = enrolment()
    parts.store().close()
    parts.environment.cache_clear()
    parts.store.cache_clear()
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", "host=127.0.0.1 port=1")
    answer = Agent().ask_to_enrol(made.token)
    assert problem(answer)[0] == 503
    assert int(answer["headers"]["Retry-After"]) > 0


def test_agents_make_no_enrolment_tokens() -> None:
    assert problem(ask("POST", "/v1/enrolments", {}, claims=agent_claims()))[0] == 403


def test_answers_with_secrets_are_not_kept() -> None:
    made = ask("POST", "/v1/enrolments", {}, claims=operator_claims("operator"))
    assert made["headers"]["Cache-Control"] == "no-store"
    enrolled = Agent().ask_to_enrol(json.loads(made["body"])["token"])
    assert (enrolled["statusCode"], enrolled["headers"]["Cache-Control"]) == (201, "no-store")
