"""Promises of access tokens: an agent that is enrolled gets one for each assertion that is its own, good and new."""

from __future__ import annotations

import base64
import json
import logging
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from contracts.claims import AgentClaims, Audience
from contracts.identity import ASSERTION_SECONDS, LEEWAY_SECONDS, TokenGranted
from functions.authorizer import parts
from functions.authorizer.authority import create
from functions.authorizer.handler import handler as authorizer
from functions.authorizer.keys import load
from functions.authorizer.tokens import verify
from functions.http import PROBLEM
from functions.store import Connection
from tests.functions.events import problem, request
from tests.functions.identities import GRANT, Agent, ask, enrolment, revoke, stranger, with_certificate, write

pytestmark = pytest.mark.usefixtures("identity")


@pytest.fixture
def agent(identity: None) -> Agent:
    found = Agent()
    found.enrol()
    return found


def _refused(agent: Agent, assertion: str | None = None, certificate: str | None = None) -> str:
    """Why an assertion gets no token."""
    answer = agent.ask_for_token(assertion, certificate)
    status, detail = problem(answer)
    assert (status, answer["headers"]["WWW-Authenticate"]) == (401, "Bearer"), detail
    return detail


def _claims(token: str, tmp_path: Path) -> AgentClaims:
    claims = verify(token, load(tmp_path / "keys.json"), time.time())
    assert isinstance(claims, AgentClaims)
    return claims


def _may(token: str, certificate: str | None = None) -> bool:
    event = request("GET", "/v1/config", headers={"authorization": f"Bearer {token}"})
    answer = authorizer(event if certificate is None else with_certificate(event, certificate), None)
    assert isinstance(answer["isAuthorized"], bool)
    return answer["isAuthorized"]


def _audit(connection: Connection) -> list[tuple[Any, ...]]:
    found = connection.execute("select actor, outcome, detail from identity.audit where action = 'agent.token'")
    return found.fetchall()


def test_an_assertion_is_exchanged_for_a_token_of_fifteen_minutes(agent: Agent, tmp_path: Path) -> None:
    answer = agent.ask_for_token()
    granted = TokenGranted.model_validate_json(answer["body"])
    assert (granted.token_type, granted.expires_in) == ("Bearer", 900)
    assert answer["headers"]["Cache-Control"] == "no-store"
    claims = _claims(granted.access_token, tmp_path)
    assert (claims.sub, claims.aud, claims.cnf) == (agent.name, Audience.AGENT, None)
    assert claims.exp - claims.iat == 900
    assert _may(granted.access_token)


def test_tokens_are_never_the_same(agent: Agent, tmp_path: Path) -> None:
    assert len({_claims(agent.token(), tmp_path).jti for _ in range(2)}) == 2


def test_an_assertion_is_good_once(agent: Agent, connection: Connection) -> None:
    assertion = agent.assertion()
    assert agent.ask_for_token(assertion)["statusCode"] == 200
    assert "used before" in _refused(agent, assertion)
    assert _audit(connection) == [(agent.name, "refused", {"reason": _refused(agent, assertion)})]


def test_an_assertion_sent_many_times_at_once_is_good_once(agent: Agent) -> None:
    assertion = agent.assertion()

    def exchange(_: int) -> int:
        try:
            return int(agent.ask_for_token(assertion)["statusCode"])
        finally:
            parts.store().close()

    with ThreadPoolExecutor(6) as pool:
        assert sorted(pool.map(exchange, range(6))) == [200] + [401] * 5


def test_agents_may_choose_the_same_jti(agent: Agent) -> None:
    other = Agent("agent-2")
    other.enrol()
    for each in (agent, other):
        assert each.ask_for_token(each.assertion(jti="0123456789abcdef"))["statusCode"] == 200


def test_the_clocks_may_be_a_little_apart(agent: Agent) -> None:
    now = int(time.time())
    for iat, exp in ((now + LEEWAY_SECONDS - 2, now + 60), (now - 65, now - LEEWAY_SECONDS + 2)):
        assert agent.ask_for_token(agent.assertion(iat=iat, exp=exp))["statusCode"] == 200


def test_a_clock_that_is_wrong_is_named(agent: Agent) -> None:
    now = int(time.time())
    late, early = agent.assertion(iat=now - 3600, exp=now - 3540), agent.assertion(iat=now + 3600, exp=now + 3660)
    for assertion, reason in ((late, "expired 35"), (early, "s in the future")):
        detail = _refused(agent, assertion)
        assert reason in detail
        assert "Date header" in detail


def test_what_an_assertion_says_is_what_it_must_say(agent: Agent) -> None:
    now = int(time.time())
    wrong: dict[str, dict[str, Any]] = {
        "sub is not iss": {"sub": "agent-2"},
        "claims: sub": {"sub": None},
        "claims: iss": {"iss": "Agent 1", "sub": "Agent 1"},
        "aud is another server's": {"aud": "pganalytics:" + "0" * 32},
        "claims: aud: ": {"aud": ["pganalytics"]},
        "claims: jti: Field required": {"jti": None},
        "claims: jti: String should match": {"jti": "short"},
        "claims: exp: Field": {"exp": None},
        "claims: iat: Field": {"iat": None},
        "claims: exp: Input should be a valid integer": {"exp": str(now + 60)},
        "claims: iat: Input should be a valid integer": {"iat": now + 0.5},
        "claims: admin: Extra": {"admin": True},
        "claims: scope: Extra": {"scope": "admin"},
        f"exp is not 1 to {ASSERTION_SECONDS} seconds": {"exp": now + 300},
        "exp is not 1 to": {"iat": now, "exp": now},
    }
    for reason, changes in wrong.items():
        assert reason in _refused(agent, agent.assertion(**changes)), changes
    for jti in ("x" * 65, "a\x00bcdefghijklmnop", "é" * 16, "0123456789abcdef\n"):
        assert "claims: jti" in _refused(agent, agent.assertion(jti=jti)), jti


def _signed(key: Any, header: bytes, claims: bytes) -> str:
    """An assertion of any content, with a signature of the key that is right."""
    content = b".".join(base64.urlsafe_b64encode(part).rstrip(b"=") for part in (header, claims))
    signature = jwt.get_algorithm_by_name("ES256").sign(content, key)
    return (content + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode()


def test_a_header_says_es256_and_brings_no_key(agent: Agent) -> None:
    jwk = {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}
    for header, reason in (
        ({"jwk": jwk}, "unexpected jwk"),
        ({"jku": "https://x"}, "unexpected jku"),
        ({"x5u": "https://x"}, "unexpected x5u"),
        ({"x5c": ["AA"]}, "unexpected x5c"),
        ({"x5t": "AA"}, "unexpected x5t"),
        ({"crit": ["exp"]}, "unexpected crit"),
        ({"typ": "at+jwt"}, "typ is not JWT"),
    ):
        assert reason in _refused(agent, agent.assertion(headers=header)), header
    assert agent.ask_for_token(agent.assertion(headers={"kid": "../../key'; drop table x"}))["statusCode"] == 200
    claims = json.dumps(agent.claims()).encode()
    for raw, reason in (
        (b'{"alg":"none","alg":"ES256"}', "stands twice"),
        (b'{"alg":"ES256","b64":true}', "unexpected b64"),
        (b'{"alg":"ES256"', "not JSON"),
        (b'["ES256"]', "not an object"),
        (b'{"typ":"JWT"}', "alg is not ES256"),
        (b'{"alg":["ES256"]}', "alg is not ES256"),
        (b'{"alg":"es256"}', "alg is not ES256"),
    ):
        assert reason in _refused(agent, _signed(agent.key, raw, claims)), raw
    twice = claims.replace(b"{", b'{"iss": "agent-2", ', 1)
    assert "stands twice" in _refused(agent, _signed(agent.key, b'{"alg":"ES256"}', twice))


def test_no_other_algorithm_signs(agent: Agent) -> None:
    claims = agent.claims()
    public = agent.key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    secret = base64.urlsafe_b64encode(public)  # PyJWT itself would not sign with a PEM
    others = [
        jwt.encode(claims, "", "none"),
        jwt.encode(claims, secret, "HS256"),
        jwt.encode(claims, rsa.generate_private_key(65537, 2048), "RS256"),
        jwt.encode(claims, ec.generate_private_key(ec.SECP384R1()), "ES384"),
    ]
    for assertion in others:
        detail = _refused(agent, assertion)
        assert "alg is not ES256" in detail or "three parts" in detail


def test_a_stranger_is_told_the_same_of_agents_that_are_here_and_of_those_that_are_not(
    agent: Agent, connection: Connection
) -> None:
    thief, nobody = Agent(agent.name, enrolled=agent.enrolled), Agent("nobody", enrolled=agent.enrolled)
    away = Agent("away")
    away.enrol()
    revoke("away")
    expired = Agent("expired")
    expired.enrol()
    connection.execute("update identity.certificate set not_after = now() where agent_id = 'expired'")
    told = {_refused(each) for each in (thief, nobody, away, expired)}
    assert len(told) == 1
    assert "not signed with the key of a certificate that is good" in told.pop()
    assert _audit(connection) == []  # nobody knows who that was


def test_an_assertion_of_one_agent_says_nothing_of_another(agent: Agent) -> None:
    other = Agent("agent-2")
    other.enrol()
    assert "not signed" in _refused(agent, agent.assertion(iss="agent-2", sub="agent-2"))
    assert "sub is not iss" in _refused(agent, agent.assertion(iss="agent-2"))


def test_revocation_stops_new_tokens_at_once(agent: Agent) -> None:
    token = agent.token()
    assert revoke(agent.name, "stolen")["statusCode"] == 204
    assert "not signed" in _refused(agent)
    assert _may(token)  # until it expires, within fifteen minutes: the authorizer asks no store


def test_changed_in_any_place_an_assertion_is_none(agent: Agent) -> None:
    header, claims, signature = agent.assertion().split(".")
    other = agent.assertion().split(".")
    for changed in (
        f"{header}.{other[1]}.{signature}",
        f"{header}.{claims}.{other[2]}",
        f"{header}.{claims}.",
        f"{header}.{claims}",
        f"{header}.{claims}.{signature}.",
        f" {header}.{claims}.{signature}",
        f"{header}.{claims}.{signature}\n",
        f"{header}.{claims}=.{signature}",
        f"{header}.{claims}.{signature[:-4]}",
        f"{header}.{claims}.{'A' * len(signature)}",
        "x",
    ):
        assert _refused(agent, changed)


def test_a_body_that_breaks_the_contract_is_named(agent: Agent) -> None:
    assertion = agent.assertion()
    wrong: list[Any] = [
        {},
        {"grant_type": "password", "assertion": assertion},
        {"grant_type": GRANT},
        {"grant_type": GRANT, "assertion": "x" * 5000},
        {"grant_type": GRANT, "assertion": assertion, "scope": "admin"},
    ]
    for body in wrong:
        status, detail = problem(ask("POST", "/v1/token", body))
        assert status == 422
        assert assertion not in detail


def test_neither_log_nor_audit_have_an_assertion(
    agent: Agent, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    assertion = agent.assertion()
    agent.ask_for_token(assertion)
    _refused(agent, assertion)
    _refused(agent, assertion[:-8] + "AAAAAAAA")
    kept = [str(record.__dict__) for record in caplog.records]
    kept += [str(row) for row in connection.execute("select a::text from identity.audit a")]
    assert any("used before" in each for each in kept)
    assert not any(part in each for each in kept for part in assertion.split("."))


def test_over_mtls_a_token_is_good_with_that_certificate_only(agent: Agent, tmp_path: Path) -> None:
    token = agent.token(agent.certificate)
    bound = _claims(token, tmp_path).cnf
    assert bound is not None
    assert _may(token, agent.certificate)
    assert not _may(token)
    assert not _may(token, stranger(agent.name))
    other = Agent("agent-2")
    other.enrol()
    assert not _may(token, other.certificate)


def test_a_certificate_that_is_not_a_good_one_of_the_agent_gets_no_token(agent: Agent, connection: Connection) -> None:
    other = Agent("agent-2")
    other.enrol()
    for certificate in (other.certificate, stranger(agent.name)):
        assert "client certificate is not a good one" in _refused(agent, certificate=certificate)
    old = agent.certificate
    agent.enrol(enrolment(agent_id=agent.name).token)
    fingerprint = x509.load_pem_x509_certificate(old.encode()).fingerprint(hashes.SHA256())
    connection.execute("update identity.certificate set not_after = now() where fingerprint = %s", (fingerprint,))
    assert "client certificate is not a good one" in _refused(agent, certificate=old)
    assert agent.token(agent.certificate)
    assert {row[:2] for row in _audit(connection)} == {(agent.name, "refused")}


def test_where_tokens_are_bound_there_is_none_without_a_certificate(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    parts.environment.cache_clear()
    monkeypatch.setenv("PGANALYTICS_BIND_TOKENS", "true")
    assert "over mTLS only" in _refused(agent)
    assert _may(agent.token(agent.certificate), agent.certificate)


def test_an_authority_of_before_is_still_one_to_assert_to(agent: Agent, tmp_path: Path) -> None:
    """The authority is replaced, and the one before stays among its certificates."""
    assert agent.enrolled
    file = tmp_path / "authority.pem"
    write(file, create("new", 365, datetime.now(UTC)) + agent.enrolled.authority)
    assert agent.token()
    told = agent.renew()
    assert json.loads(told["body"])["audience"] != agent.enrolled.audience
    assert agent.enrolled.authority in json.loads(told["body"])["authority"]
    agent.enrolled = agent.enrolled.model_validate_json(told["body"])
    assert agent.token()
    write(file, create("newest", 365, datetime.now(UTC)))
    assert "aud is another server's" in _refused(agent)


def test_without_keys_there_is_no_token_and_the_assertion_stays_good(agent: Agent, tmp_path: Path) -> None:
    assertion, file = agent.assertion(), tmp_path / "keys.json"
    file.rename(tmp_path / "away")
    answer = agent.ask_for_token(assertion)
    assert (answer["statusCode"], answer["headers"]["Content-Type"]) == (503, PROBLEM)
    (tmp_path / "away").rename(file)
    assert agent.ask_for_token(assertion)["statusCode"] == 200
