"""The routes by which agents come to their certificates and access tokens."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from http import HTTPStatus

from aws_lambda_powertools import Logger
from aws_lambda_powertools.event_handler import Response, content_types
from aws_lambda_powertools.event_handler.api_gateway import Router

from contracts.identity import CertificateAsked, Enrolled, TokenAsked, TokenGranted
from functions.audit import record
from functions.authorizer.assertions import AssertionRefusedError, exchange
from functions.authorizer.authority import Authority
from functions.authorizer.certificates import Certified, RefusedError, Why, renew
from functions.authorizer.client_certificate import fingerprint
from functions.authorizer.enrol import enrol
from functions.authorizer.parts import authority, environment, keys, store
from functions.authorizer.tokens import TokenRefusedError, bearer, issue
from functions.http import ProblemError, answers, calling_agent, source_address
from functions.store import Connection

_STATUS = {
    Why.TOKEN: HTTPStatus.UNAUTHORIZED,
    Why.REQUEST: HTTPStatus.UNPROCESSABLE_ENTITY,
    Why.NAME: HTTPStatus.CONFLICT,
    Why.REVOKED: HTTPStatus.FORBIDDEN,
    Why.OFTEN: HTTPStatus.TOO_MANY_REQUESTS,
}
_HEADERS = {Why.TOKEN: {"WWW-Authenticate": "Bearer"}, Why.OFTEN: {"Retry-After": "3600"}}

_CERTIFIES = (
    HTTPStatus.CONFLICT,
    HTTPStatus.UNPROCESSABLE_ENTITY,
    HTTPStatus.TOO_MANY_REQUESTS,
    HTTPStatus.NOT_IMPLEMENTED,
    HTTPStatus.SERVICE_UNAVAILABLE,
)

logger = Logger(service="pganalytics")

router = Router()  # type: ignore[no-untyped-call]


@router.post(
    "/v1/agents",
    summary="Enrol an agent",
    description="The bearer token is an enrolment token. The request is for CN=<agent id>, with a key of ECDSA on "
    "P-256 that never leaves its host. The same request again, as after an answer that was lost, counts as one use.",
    tags=["agents"],
    status_code=201,
    responses=answers(Enrolled, HTTPStatus.UNAUTHORIZED, *_CERTIFIES, status=HTTPStatus.CREATED),
)
def post_agent(asked: CertificateAsked) -> Response[Enrolled]:
    signing = _authority()
    try:
        token = bearer(router.current_event.headers)
        with store().transaction() as connection:
            done = enrol(connection, signing, token, asked.csr, datetime.now(UTC))
            _record_done(connection, "agent.enrol", done)
    except TokenRefusedError as error:
        raise _refusal("agent.enrol", RefusedError(Why.TOKEN, str(error))) from error
    except RefusedError as error:
        raise _refusal("agent.enrol", error) from error
    return _certified(done)


@router.post(
    "/v1/certificate",
    summary="Renew the caller's certificate",
    description="The request is for CN=<the caller>. With a key that the caller has a certificate for; with another "
    "one only over a connection of such a certificate.",
    tags=["agents"],
    status_code=201,
    responses=answers(Enrolled, *_CERTIFIES, status=HTTPStatus.CREATED),
)
def post_certificate(asked: CertificateAsked) -> Response[Enrolled]:
    signing, name, presented = _authority(), calling_agent(router), fingerprint(router.current_event)
    try:
        with store().transaction() as connection:
            done = renew(connection, signing, name, asked.csr, presented, datetime.now(UTC))
            _record_done(connection, "agent.renew", done)
    except RefusedError as error:
        raise _refusal("agent.renew", error, name) from error
    return _certified(done)


@router.post(
    "/v1/token",
    summary="Exchange an assertion for an access token",
    description="The assertion is a JWT, ES256, signed with the agent's key: `iss` and `sub` are the agent id, `aud` "
    "is what the agent was told at its enrolment, `exp` is at most 60 seconds after `iat`, and `jti` is new. "
    "Over a connection with a client certificate the token is good with this certificate only.",
    tags=["agents"],
    responses=answers(
        TokenGranted,
        HTTPStatus.UNAUTHORIZED,
        HTTPStatus.UNPROCESSABLE_ENTITY,
        HTTPStatus.NOT_IMPLEMENTED,
        HTTPStatus.SERVICE_UNAVAILABLE,
    ),
)
def post_token(asked: TokenAsked) -> Response[TokenGranted]:
    audiences, signing, presented = _authority().audiences, keys(), fingerprint(router.current_event)
    try:
        if presented is None and environment().bind_tokens:
            raise TokenRefusedError("tokens are given over mTLS only: connect with the agent's client certificate")
        with store().transaction() as connection:
            claims = exchange(connection, asked.assertion, audiences, presented, time.time())
    except TokenRefusedError as error:
        known = error.agent_id if isinstance(error, AssertionRefusedError) else None
        if known is None:
            _log_refusal("agent.token", str(error))
            raise _unauthorized(str(error)) from error
        refused = RefusedError(Why.TOKEN, str(error), agent_id=known)
        raise _refusal("agent.token", refused, known) from error
    granted = TokenGranted(access_token=issue(claims, signing), expires_in=claims.exp - claims.iat)
    return Response(HTTPStatus.OK, content_types.APPLICATION_JSON, granted)


def _authority() -> Authority:
    found = authority()
    if found is None:
        raise ProblemError(
            HTTPStatus.NOT_IMPLEMENTED, "this server enrols no agents: it has no authority; give it one, and start it"
        )
    return found


def _certified(done: Certified) -> Response[Enrolled]:
    return Response(HTTPStatus.CREATED, content_types.APPLICATION_JSON, done.enrolled)


def _record_done(connection: Connection, action: str, done: Certified) -> None:
    name, address = done.enrolled.agent_id, source_address(router)
    record(connection, actor_kind="agent", actor=name, address=address, action=action, subject=name, detail=done.detail)


def _refusal(action: str, refused: RefusedError, actor: str | None = None) -> ProblemError:
    """What the caller is answered; log and audit log know of it, although nothing was done."""
    reason = str(refused)
    _log_refusal(action, reason, refused)
    with store().transaction() as connection:
        record(
            connection,
            actor_kind="nobody" if actor is None else "agent",
            actor=actor,
            address=source_address(router),
            action=action,
            subject=refused.agent_id,
            outcome="refused",
            detail={"reason": reason} | ({"enrolment": refused.enrolment_id} if refused.enrolment_id else {}),
        )
    return ProblemError(_STATUS[refused.why], reason, _HEADERS.get(refused.why))


def _log_refusal(action: str, reason: str, refused: RefusedError | None = None) -> None:
    known = {"agent": refused.agent_id, "enrolment": refused.enrolment_id} if refused else {}
    logger.warning("refused", extra={"action": action, "reason": reason, "address": source_address(router), **known})


def _unauthorized(reason: str) -> ProblemError:
    return ProblemError(HTTPStatus.UNAUTHORIZED, reason, _HEADERS[Why.TOKEN])
