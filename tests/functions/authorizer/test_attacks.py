"""Every way into the API that is not a token of ours for that route is a deny, at the authorizer's own door."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import re
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt import PyJWS

from contracts.claims import Confirmation
from contracts.routes import ROUTES, Route
from functions.authorizer.client_certificate import thumbprint
from functions.authorizer.handler import handler, logger
from functions.authorizer.keys import Keys, dump, generate, load
from functions.authorizer.tokens import issue
from tests.functions.events import agent_claims, operator_claims, request
from tests.functions.identities import stranger, with_certificate, write

Make = Callable[[Keys], str]

DENIED = {"isAuthorized": False, "context": {}}
RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(autouse=True)
def keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Keys:
    file = write(tmp_path / "keys.json", dump([generate(), generate()]))
    monkeypatch.setenv("PGANALYTICS_KEYS_FILE", str(file))
    return load(file)


def _ask(header: str, method: str = "GET", path: str = "/v1/config") -> dict[str, Any]:
    return handler(request(method, path, headers={"authorization": header}), None)


def _part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _hmac(content: str, secret: bytes, digest: str = "sha256") -> str:
    return f"{content}.{_part(hmac.new(secret, content.encode(), digest).digest())}"


def _claims(**changes: Any) -> dict[str, Any]:
    """What a good token says, with changes; None leaves out."""
    said = agent_claims().model_dump(mode="json", exclude_none=True) | changes
    return {name: value for name, value in said.items() if value is not None}


def _signed(keys: Keys, header: Any = None, claims: Any = None) -> str:
    """With the right signature, whatever it says; `header` is added to the right one."""
    right = {"alg": "HS256", "kid": keys.signing.kid, "typ": "JWT"}
    first = header if isinstance(header, bytes) else {**right, **(header or {})}
    return _hmac(f"{_part(first)}.{_part(_claims() if claims is None else claims)}", keys.signing.secret)


def _says(**changes: Any) -> Make:
    return lambda keys: _signed(keys, claims=_claims(**changes))


def _heads(**header: Any) -> Make:
    return lambda keys: _signed(keys, header)


def _kid(kid: Any) -> Make:
    return _heads(kid=kid)


def _without_kid(keys: Keys) -> str:
    return _signed(keys, json.dumps({"alg": "HS256", "typ": "JWT"}).encode())


def _unsigned(alg: str) -> Make:
    return lambda keys: f"{_part({'alg': alg, 'kid': keys.signing.kid})}.{_part(_claims())}."


def _digest(alg: str, digest: str) -> Make:
    def make(keys: Keys) -> str:
        content = f"{_part({'alg': alg, 'kid': keys.signing.kid})}.{_part(_claims())}"
        return _hmac(content, keys.signing.secret, digest)

    return make


def _public_key_as_secret(public: rsa.RSAPublicKey | ec.EllipticCurvePublicKey) -> Make:
    """The confusion of RS256 and HS256: a public key, which everyone has, as the secret."""
    pem = public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return lambda keys: _hmac(f"{_part({'alg': 'HS256', 'kid': keys.signing.kid})}.{_part(_claims())}", pem)


def _asymmetric(alg: str, key: Any) -> Make:
    return lambda keys: PyJWS().encode(json.dumps(_claims()).encode(), key, alg, {"kid": keys.signing.kid})


def _embedded(keys: Keys) -> str:
    secret = b"attackers own secret of 32 bytes"
    jwk = {"kty": "oct", "k": _part(secret), "kid": "mine", "alg": "HS256"}
    return _hmac(f"{_part({'alg': 'HS256', 'kid': 'mine', 'jwk': jwk})}.{_part(_claims())}", secret)


def _another_key_of_the_set(keys: Keys) -> str:
    content = f"{_part({'alg': 'HS256', 'kid': keys.signing.kid})}.{_part(_claims())}"
    return _hmac(content, keys.all[1].secret)


def _twice_in_the_header(keys: Keys) -> str:
    return _signed(keys, f'{{"alg":"none","alg":"HS256","kid":"{keys.signing.kid}"}}'.encode())


def _twice_in_the_claims(name: str, value: str) -> Make:
    def make(keys: Keys) -> str:
        text = json.dumps(_claims())
        return _signed(keys, claims=text.replace("{", f'{{"{name}": {value}, ', 1).encode())

    return make


NOW = int(time.time())

TOKENS: dict[str, Make] = {
    "alg none": _unsigned("none"),
    "alg None": _unsigned("None"),
    "alg nOnE": _unsigned("nOnE"),
    "alg none with a signature": _heads(alg="none"),
    "no signature": _unsigned("HS256"),
    "alg missing": lambda keys: _signed(keys, json.dumps({"kid": keys.signing.kid}).encode()),
    "alg null": _heads(alg=None),
    "alg a list": _heads(alg=["HS256"]),
    "alg in lower case": _heads(alg="hs256"),
    "alg with a space": _heads(alg="HS256 "),
    "alg HS384": _digest("HS384", "sha384"),
    "alg HS512": _digest("HS512", "sha512"),
    "HS512 that calls itself HS256": _digest("HS256", "sha512"),
    "alg RS256 over HS256": _heads(alg="RS256"),
    "alg ES256 over HS256": _heads(alg="ES256"),
    "RS256 of a stranger": _asymmetric("RS256", RSA),
    "ES256 of a stranger": _asymmetric("ES256", EC),
    "public RSA key as the secret": _public_key_as_secret(RSA.public_key()),
    "public EC key as the secret": _public_key_as_secret(EC.public_key()),
    "empty secret": lambda keys: _hmac(f"{_part({'alg': 'HS256', 'kid': keys.signing.kid})}.{_part(_claims())}", b""),
    "another key of the set": _another_key_of_the_set,
    "key of another server": lambda _: issue(agent_claims(), Keys((generate(),))),
    "kid missing": _without_kid,
    "kid unknown": _kid("k9"),
    "kid empty": _kid(""),
    "kid null": _kid(None),
    "kid a number": _kid(1),
    "kid a list": lambda keys: _signed(keys, {"kid": [keys.signing.kid]}),
    "kid an object": _kid({"$ne": ""}),
    "kid a path": _kid("../../../../dev/null"),
    "kid a path with NUL": _kid("/proc/self/environ\x00"),
    "kid SQL": _kid("k' union select 'secret' -- "),
    "kid a command": _kid("$(id)|id"),
    "kid a URL": _kid("https://example.org/key"),
    "jwk": _embedded,
    "jwk beside a right kid": _heads(jwk={"kty": "oct", "k": "AA"}),
    "jku": _heads(jku="https://example.org/keys"),
    "x5u": _heads(x5u="https://example.org/certificate"),
    "x5c": _heads(x5c=["AAAA"]),
    "x5t": _heads(x5t="AAAA"),
    "crit": _heads(crit=["exp"]),
    "crit empty": _heads(crit=[]),
    "b64 false": _heads(b64=False, crit=["b64"]),
    "zip": _heads(zip="DEF"),
    "enc": _heads(enc="A256GCM"),
    "cty": _heads(cty="JWT"),
    "typ of another kind": _heads(typ="at+jwt"),
    "expired": _says(exp=NOW - 1, nbf=NOW - 900, iat=NOW - 900),
    "expired this second": _says(exp=NOW, nbf=NOW - 900, iat=NOW - 900),
    "not yet valid": lambda keys: _says(nbf=int(time.time()) + 300, exp=int(time.time()) + 900)(keys),
    "exp before nbf": _says(nbf=NOW, exp=NOW - 1),
    "exp missing": _says(exp=None),
    "nbf missing": _says(nbf=None),
    "iat missing": _says(iat=None),
    "jti missing": _says(jti=None),
    "sub missing": _says(sub=None),
    "iss missing": _says(iss=None),
    "aud missing": _says(aud=None),
    "iss of another": _says(iss="https://example.org"),
    "iss in a list": _says(iss=["pganalytics"]),
    "aud of another": _says(aud="other"),
    "aud in a list": _says(aud=["pganalytics-agent"]),
    "aud of both kinds": _says(aud=["pganalytics-agent", "pganalytics-operator"]),
    "aud of an enrolment": _says(aud="pganalytics:" + "0" * 32),
    "exp a text": _says(exp=str(NOW + 900)),
    "exp a fraction": _says(exp=NOW + 900.5),
    "exp true": _says(exp=True),
    "exp below zero": _says(exp=-1),
    "exp beyond all time": _says(exp=10**30),
    "exp infinite": lambda keys: _signed(keys, claims=json.dumps(_claims(exp=float("inf"))).encode()),
    "exp not a number": lambda keys: _signed(keys, claims=json.dumps(_claims(exp=float("nan"))).encode()),
    "sub a path": _says(sub="../agent-2"),
    "sub with a line": _says(sub="agent-1\n"),
    "sub in upper case": _says(sub="Agent-1"),
    "sub a list": _says(sub=["agent-1"]),
    "scope of an operator": _says(scope="admin"),
    "a claim more": _says(admin=True),
    "a role": _says(role="admin"),
    "cnf not an object": _says(cnf="x"),
    "cnf of another kind": _says(cnf={"jkt": "x" * 43}),
    "cnf empty": _says(cnf={}),
    "claims a list": lambda keys: _signed(keys, claims=[_claims()]),
    "claims a text": lambda keys: _signed(keys, claims=b'"admin"'),
    "claims no JSON": lambda keys: _signed(keys, claims=b"{"),
    "claims no UTF-8": lambda keys: _signed(keys, claims=b'{"sub": "\xff"}'),
    "claims empty": lambda keys: _signed(keys, claims=b""),
    "alg twice": _twice_in_the_header,
    "sub twice": _twice_in_the_claims("sub", '"agent-2"'),
    "exp twice": _twice_in_the_claims("exp", "1"),
    "header nested without end": lambda keys: _signed(keys, b"[" * 1500),
    "huge": _says(jti="x" * 10_000),
    "huge header": _heads(kid="x" * 10_000),
    "two tokens in one": lambda keys: issue(agent_claims(), keys) + "." + issue(agent_claims(), keys),
    "five parts": lambda keys: issue(agent_claims(), keys) + "..",
    "trailing dot": lambda keys: issue(agent_claims(), keys) + ".",
    "padding": lambda keys: issue(agent_claims(), keys).replace(".", "=.", 1),
    "plain base64": lambda keys: issue(agent_claims(), keys) + "+/",
    "a space within": lambda keys: issue(agent_claims(), keys).replace(".", ". ", 1),
    "a line within": lambda keys: issue(agent_claims(), keys).replace(".", ".\n", 1),
    "a tab at its end": lambda keys: issue(agent_claims(), keys) + "\t",
    "a line at its end": lambda keys: issue(agent_claims(), keys) + "\n",
    "a NUL at its end": lambda keys: issue(agent_claims(), keys) + "\x00",
    "a no-break space before": lambda keys: "\u00a0" + issue(agent_claims(), keys),
    "a zero-width space": lambda keys: issue(agent_claims(), keys) + "\u200b",
    "quoted": lambda keys: f'"{issue(agent_claims(), keys)}"',
    "a comma": lambda keys: issue(agent_claims(), keys) + ",",
    "an enrolment token": lambda _: "pge_" + "A" * 43,
    "a refresh token": lambda _: "pgr_" + "A" * 43,
}


@pytest.mark.parametrize("make", TOKENS.values(), ids=TOKENS)
def test_what_is_no_token_of_ours_opens_nothing(keys: Keys, make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[str] = []
    monkeypatch.setattr(logger, "warning", lambda message, extra: logged.append(f"{message} {extra}"))
    token = make(keys)
    assert _ask(f"Bearer {token}") == DENIED
    assert len(logged) == 1
    signature = token.strip().rpartition(".")[2]
    assert len(signature) < 20 or signature not in logged[0]


@pytest.mark.parametrize("key", [0, 1], ids=["first", "second"])
def test_the_same_token_made_rightly_opens_its_route(keys: Keys, key: int) -> None:
    """Else the table above would hold of anything."""
    assert _ask(f"Bearer {_signed(Keys((keys.all[key],)))}")["isAuthorized"] is True


@pytest.mark.parametrize(
    "header",
    ["", "Bearer", "Bearer ", "bearer", "{}", "Basic {}", "Token {}", "Bearer{}", "Bearer\t{}", "Bearer\u00a0{}"],
)
def test_only_the_scheme_bearer_brings_a_token(keys: Keys, header: str) -> None:
    assert _ask(header.replace("{}", issue(agent_claims(), keys))) == DENIED


@pytest.mark.parametrize("header", ["Bearer {}", "bearer {}", "BEARER {}", "Bearer  {} "])
def test_the_scheme_may_be_written_in_any_case(keys: Keys, header: str) -> None:
    assert _ask(header.replace("{}", issue(agent_claims(), keys)))["isAuthorized"] is True


def test_a_token_elsewhere_than_in_its_header_is_none(keys: Keys) -> None:
    token = issue(agent_claims(), keys)
    for event in (
        request("GET", "/v1/config", {"access_token": token}),
        request("GET", "/v1/config", headers={"x-authorization": f"Bearer {token}", "cookie": f"token={token}"}),
        request("GET", "/v1/config", claims=agent_claims()),
    ):
        assert handler(event, None) == DENIED


@pytest.mark.parametrize(
    "path",
    ["/v1/config/", "//v1/config", "/v1//config", "/v1/config?x", "/v1/config\n", "/V1/config", "/v1/./config",
     "/v1/x/../config", "/v1/%63onfig", "/v1/config;a=b", "/v1/config\x00", "v1/config", "/v1/config/../targets"],
)  # fmt: skip
def test_a_path_that_is_written_otherwise_is_no_route(keys: Keys, path: str) -> None:
    assert _ask(f"Bearer {issue(agent_claims(), keys)}", path=path) == DENIED


#: Who asks, and whether a route opens: nobody at all, an agent, and operators by their role.
CALLERS = ("nobody", "agent", "viewer", "operator", "admin")


def _token(caller: str, keys: Keys) -> str | None:
    if caller == "nobody":
        return None
    return issue(agent_claims() if caller == "agent" else operator_claims(caller), keys)


def _expected(route: Route, caller: str) -> bool:
    """As the table of the routes reads; written out here, and not asked of the code that is tested."""
    if caller == "nobody":
        return False  # open routes have no authorizer before them
    if route.audience is None:
        return True
    if caller == "agent":
        return str(route.audience) == "pganalytics-agent"
    if str(route.audience) != "pganalytics-operator" or route.role is None:
        return False
    return CALLERS.index(caller) >= CALLERS.index(route.role.name.lower())


@pytest.mark.parametrize("caller", CALLERS)
@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.key)
def test_every_route_opens_to_whom_it_is_for_and_to_nobody_else(keys: Keys, route: Route, caller: str) -> None:
    token = _token(caller, keys)
    path = re.sub(r"\{\w+\}", "7", route.path)
    event = request(route.method, path, headers={"authorization": f"Bearer {token}"} if token else {})
    assert handler(event, None)["isAuthorized"] is _expected(route, caller)
    assert "{" not in path


def test_every_change_asks_for_an_operator_and_every_agent_is_let_in_where_its_work_is() -> None:
    """The table itself: what it opens to agents and to viewers, by name."""
    agents = {route.key for route in ROUTES if _expected(route, "agent") and route.audience is not None}
    assert agents == {"POST /v1/batches", "POST /v1/uploads", "GET /v1/config", "POST /v1/certificate"}
    viewers = {route.key for route in ROUTES if _expected(route, "viewer") and route.audience is not None}
    # Their own password, and whether a document could be saved: neither changes anything of the fleet.
    assert {key for key in viewers if not key.startswith("GET ")} == {
        "PUT /v1/auth/password",
        "POST /v1/documents/validate",
    }


def _bound(keys: Keys, certificate: str) -> str:
    der = base64.b64decode("".join(certificate.split("\n")[1:-2]))
    cnf = Confirmation.model_validate({"x5t#S256": thumbprint(hashlib.sha256(der).digest())})
    return issue(agent_claims().model_copy(update={"cnf": cnf}), keys)


def _over(token: str, certificate: str | None) -> dict[str, Any]:
    event = request("GET", "/v1/config", headers={"authorization": f"Bearer {token}"})
    return handler(event if certificate is None else with_certificate(event, certificate), None)


def test_a_token_that_is_bound_is_good_with_its_certificate_only(keys: Keys) -> None:
    mine, other = stranger("agent-1"), stranger("agent-1")
    token = _bound(keys, mine)
    answer = _over(token, mine)
    assert answer["isAuthorized"] is True
    assert not any(isinstance(value, dict) for value in answer["context"].values())
    assert _over(token, mine.replace("\n", "\r\n"))["isAuthorized"] is True
    for certificate in (None, other, "", "x", mine + other, other + mine, mine[:-40], mine.replace("M", "\u00a0M", 1)):
        assert _over(token, certificate) == DENIED, certificate


@pytest.mark.parametrize("authentication", [{}, {"clientCert": None}, {"clientCert": {}}, "x", {"clientCert": "x"}])
def test_a_gateway_that_tells_of_no_certificate_tells_of_none(keys: Keys, authentication: Any) -> None:
    event = request("GET", "/v1/config", headers={"authorization": f"Bearer {_bound(keys, stranger('agent-1'))}"})
    event["requestContext"]["authentication"] = authentication
    assert handler(event, None) == DENIED


def test_where_tokens_must_be_bound_an_agents_is_and_an_operators_need_not(
    keys: Keys, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGANALYTICS_BIND_TOKENS", "true")
    mine = stranger("agent-1")
    assert _over(issue(agent_claims(), keys), mine) == DENIED
    assert _over(_bound(keys, mine), mine)["isAuthorized"] is True
    assert _ask(f"Bearer {issue(operator_claims(), keys)}", path="/v1/targets")["isAuthorized"] is True
