"""Promises of certificates after enrolment: renewed for the agent alone, and gone when it is revoked."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from contracts.identity import Enrolled
from functions.authorizer.authority import create
from functions.authorizer.certificates import MAX_CERTIFICATES_A_DAY
from functions.store import Connection
from tests.functions.events import operator_claims, problem
from tests.functions.identities import Agent, ask, enrolment, revoke, stranger, write

pytestmark = pytest.mark.usefixtures("identity")


@pytest.fixture
def agent(identity: None) -> Agent:
    found = Agent()
    found.enrol()
    return found


def _audit(connection: Connection, action: str) -> list[tuple[Any, ...]]:
    columns: LiteralString = "select actor_kind, actor, subject, outcome, detail from identity.audit"
    return connection.execute(columns + " where action = %s order by id", (action,)).fetchall()


def test_a_certificate_is_renewed_for_the_same_key(agent: Agent, connection: Connection) -> None:
    before = agent.certificate
    answer = agent.renew()
    assert answer["statusCode"] == 201
    agent.enrolled = Enrolled.model_validate_json(answer["body"])
    certificate = x509.load_pem_x509_certificate(agent.certificate.encode())
    assert agent.certificate != before
    assert certificate.public_key() == agent.key.public_key()
    assert agent.token(agent.certificate)
    assert agent.token(before)  # until it has expired: the answer to a renewal may be lost
    ((kind, actor, subject, outcome, detail),) = _audit(connection, "agent.renew")
    assert (kind, actor, subject, outcome) == ("agent", "agent-1", "agent-1", "done")
    assert detail["not_after"] == f"{agent.enrolled.not_after:%Y-%m-%dT%H:%M:%SZ}"


def test_a_certificate_is_the_callers(agent: Agent, connection: Connection) -> None:
    Agent("agent-2").enrol()
    status, detail = problem(agent.renew(agent.csr("agent-2")))
    assert (status, detail) == (409, "csr: it is for agent-2, and not for the caller")
    kind, actor, subject, outcome, noted = _audit(connection, "agent.renew")[-1]
    assert (kind, actor, subject, outcome) == ("agent", "agent-1", "agent-1", "refused")
    assert noted == {"reason": detail}


def test_a_stolen_token_does_not_become_a_certificate(agent: Agent, connection: Connection) -> None:
    """A token is good for minutes, a certificate for months: another key is shown together with the one before it."""
    thief = Agent(agent.name)
    for certificate in (None, stranger(agent.name)):
        status, detail = problem(agent.renew(thief.csr(), certificate))
        assert (status, "over a connection with the client certificate" in detail) == (422, True)
    other = Agent("agent-2")
    other.enrol()
    assert problem(agent.renew(thief.csr(), other.certificate))[0] == 422
    assert problem(thief.ask_for_token())[0] == 401


def test_a_key_is_replaced_over_a_connection_of_its_certificate(agent: Agent) -> None:
    new = Agent(agent.name)
    answer = agent.renew(new.csr(), agent.certificate)
    assert answer["statusCode"] == 201
    new.enrolled = Enrolled.model_validate_json(answer["body"])
    assert new.token(new.certificate)


def test_an_agent_that_was_revoked_is_not_renewed(agent: Agent, connection: Connection) -> None:
    revoke(agent.name)
    assert problem(agent.renew()) == (403, "this agent was revoked")
    assert problem(Agent("never").renew()) == (403, "this agent is not enrolled; enrol it")
    refused = [row[1:4] for row in _audit(connection, "agent.renew")]
    assert refused == [("agent-1", "agent-1", "refused"), ("never", "never", "refused")]


def test_a_key_that_was_replaced_is_not_renewed(agent: Agent) -> None:
    agent.enrol(enrolment(agent_id=agent.name).token)
    new = Agent(agent.name)
    new.enrol(enrolment(agent_id=agent.name).token)
    assert problem(agent.renew())[0] == 422
    assert problem(agent.renew(certificate=agent.certificate))[0] == 422
    status, detail = problem(agent.renew(agent.csr(), new.certificate))
    assert (status, "its key was revoked" in detail) == (422, True)


def test_only_what_an_agent_asks_with_is_renewed(agent: Agent) -> None:
    other = Agent(agent.name, ec.generate_private_key(ec.SECP384R1()))
    assert problem(agent.renew(other.csr(), agent.certificate))[0] == 422
    assert problem(agent.renew("x"))[0] == 422


def test_operators_have_no_certificate() -> None:
    body = {"csr": Agent("ann").csr()}
    assert problem(ask("POST", "/v1/certificate", body, claims=operator_claims("admin")))[0] == 403


def test_renewal_without_end_is_told_to_stop(agent: Agent) -> None:
    for _ in range(MAX_CERTIFICATES_A_DAY - 1):
        assert agent.renew()["statusCode"] == 201
    answer = agent.renew()
    assert (problem(answer)[0], answer["headers"]["Retry-After"]) == (429, "3600")


def test_a_certificate_does_not_outlive_its_authority(agent: Agent, tmp_path: Path) -> None:
    write(tmp_path / "authority.pem", create("short", 2, datetime.now(UTC)))
    not_after = datetime.fromisoformat(json.loads(agent.renew()["body"])["not_after"])
    assert datetime.now(UTC) + timedelta(days=1) < not_after <= datetime.now(UTC) + timedelta(days=2)


def test_an_authority_that_has_expired_certifies_nobody(
    agent: Agent, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path / "authority.pem", create("old", 2, datetime.now(UTC) - timedelta(days=3)))
    assert problem(agent.renew())[0] == 503
    assert "the authority expired on" in caplog.text


def test_who_revoked_an_agent_and_why_is_kept(agent: Agent, connection: Connection) -> None:
    assert revoke(agent.name, "stolen")["statusCode"] == 204
    assert revoke(agent.name, "again")["statusCode"] == 204
    row = connection.execute("select revoked_by, revoked_reason from identity.agent").fetchone()
    assert row == ("ann", "stolen")
    assert connection.execute("select count(*) from identity.certificate where revoked_at is null").fetchone() == (0,)
    assert [row[1:] for row in _audit(connection, "agent.revoke")] == [
        ("ann", "agent-1", "done", {"reason": reason}) for reason in ("stolen", "again")
    ]


def test_who_is_not_enrolled_cannot_be_revoked(connection: Connection) -> None:
    assert problem(revoke("nobody")) == (404, "no agent nobody is enrolled")
    assert problem(revoke("Not One"))[0] == 422
    assert problem(revoke("nobody", "x" * 201))[0] == 422
    assert _audit(connection, "agent.revoke") == []
