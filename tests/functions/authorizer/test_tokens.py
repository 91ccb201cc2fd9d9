from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from functions.authorizer.keys import Keys, SigningKey, generate
from functions.authorizer.tokens import TokenRefusedError, issue, verify
from tests.functions.events import agent_claims, operator_claims

NOW = 1_800_000_000
KEYS = Keys((SigningKey("k1", b"1" * 32), SigningKey("k0", b"0" * 32)))
HEADER = {"alg": "HS256", "kid": "k1", "typ": "JWT"}
CLAIMS = agent_claims(now=NOW).model_dump(mode="json")


def _part(value: Any) -> str:
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _signed(header: Any, claims: Any, secret: bytes = b"1" * 32, digest: str = "sha256") -> str:
    """A token of any content, with a signature that is right."""
    content = f"{_part(header)}.{_part(claims)}"
    return f"{content}.{_part(hmac.new(secret, content.encode(), digest).digest())}"


@pytest.mark.parametrize("claims", [agent_claims(now=NOW), operator_claims("admin", now=NOW)])
def test_what_was_issued_is_verified(claims: Any) -> None:
    assert verify(issue(claims, KEYS), KEYS, NOW) == claims
    assert verify(_signed(HEADER, claims.model_dump(mode="json")), KEYS, NOW) == claims


def test_an_older_key_still_verifies() -> None:
    token = issue(agent_claims(now=NOW), Keys(KEYS.all[1:]))
    assert verify(token, KEYS, NOW).sub == "agent-1"


@pytest.mark.parametrize(("after", "holds"), [(-1, False), (0, True), (899.9, True), (900, False)])
def test_a_token_holds_from_nbf_until_exp(after: float, holds: bool) -> None:
    token = issue(agent_claims(now=NOW), KEYS)
    if holds:
        assert verify(token, KEYS, NOW + after).sub
    else:
        with pytest.raises(TokenRefusedError, match=r"not valid before|expired"):
            verify(token, KEYS, NOW + after)


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        ({**HEADER, "alg": "none"}, "alg"),
        ({**HEADER, "alg": "HS512"}, "alg"),
        ({**HEADER, "alg": "hs256"}, "alg"),
        ({**HEADER, "alg": ["HS256"]}, "alg"),
        ({"kid": "k1"}, "alg"),
        ({**HEADER, "typ": "at+jwt"}, "typ"),
        ({**HEADER, "kid": "k9"}, "no key"),
        ({**HEADER, "kid": ["k1"]}, "no key"),
        ({"alg": "HS256"}, "no key"),
        ({**HEADER, "jku": "https://x"}, "unexpected jku"),
        ({**HEADER, "jwk": {}}, "unexpected jwk"),
        ({**HEADER, "crit": ["exp"]}, "unexpected crit"),
        ({**HEADER, "b64": False}, "unexpected b64"),
        (b'{"alg":"none","alg":"HS256","kid":"k1"}', "stands twice"),
        (b"[]", "not an object"),
        (b"{", "not JSON"),
        (b"[" * 2000, "not JSON"),
    ],
)
def test_a_header_says_what_ours_say_or_is_refused(header: Any, reason: str) -> None:
    with pytest.raises(TokenRefusedError, match=reason):
        verify(_signed(header, CLAIMS), KEYS, NOW)


@pytest.mark.parametrize(
    "claims",
    [
        {**CLAIMS, "iss": "other"},
        {**CLAIMS, "aud": "other"},
        {**CLAIMS, "aud": ["pganalytics-agent"]},
        {**CLAIMS, "sub": "../agent"},
        {**CLAIMS, "scope": "admin"},
        {**CLAIMS, "exp": str(NOW + 900)},
        {**CLAIMS, "exp": NOW + 900.5},
        {**CLAIMS, "exp": True},
        {**CLAIMS, "exp": -1},
        {**CLAIMS, "exp": 10**30},
        {**CLAIMS, "jti": "short"},
        {**CLAIMS, "admin": True},
        {name: value for name, value in CLAIMS.items() if name != "exp"},
        {name: value for name, value in CLAIMS.items() if name != "aud"},
        json.dumps(CLAIMS).replace("{", '{"sub": "agent-2", ', 1).encode(),
        json.dumps(CLAIMS).replace(str(NOW + 900), "NaN").encode(),
        b"[]",
        b'"text"',
        b"\xff",
    ],
)
def test_claims_say_what_ours_say_or_are_refused(claims: Any) -> None:
    with pytest.raises(TokenRefusedError, match=r"^claims"):
        verify(_signed(HEADER, claims), KEYS, NOW)


def test_an_unsigned_token_is_refused() -> None:
    for token in (f"{_part({'alg': 'none'})}.{_part(CLAIMS)}.", f"{_part(HEADER)}.{_part(CLAIMS)}.x"):
        with pytest.raises(TokenRefusedError):
            verify(token, KEYS, NOW)


def test_a_key_does_not_verify_for_another() -> None:
    with pytest.raises(TokenRefusedError, match="signature"):
        verify(_signed(HEADER, CLAIMS, secret=b"0" * 32), KEYS, NOW)
    with pytest.raises(TokenRefusedError, match="no key"):
        verify(issue(agent_claims(now=NOW), Keys((generate(),))), KEYS, NOW)


def test_another_hash_is_refused_whatever_the_header_says() -> None:
    with pytest.raises(TokenRefusedError, match="signature"):
        verify(_signed(HEADER, CLAIMS, digest="sha512"), KEYS, NOW)


def test_a_long_token_is_not_looked_at() -> None:
    with pytest.raises(TokenRefusedError, match="4096"):
        verify(_signed(HEADER, {**CLAIMS, "sub": "a" * 4000}), KEYS, NOW)


@given(st.integers(0, 10_000), st.sampled_from("AZaz09-_. =+/é\n"))
def test_a_token_with_one_other_character_is_refused(place: int, character: str) -> None:
    token = issue(agent_claims(now=NOW), KEYS)
    place %= len(token) - 1  # the last character of a signature has bits to spare
    changed = token[:place] + character + token[place + 1 :]
    if changed != token:
        with pytest.raises(TokenRefusedError):
            verify(changed, KEYS, NOW)


@given(st.text(max_size=200))
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(TokenRefusedError):
        verify(text, KEYS, NOW)


def test_hash_is_sha_256() -> None:
    header, claims, signature = issue(agent_claims(now=NOW), KEYS).split(".")
    expected = hmac.new(b"1" * 32, f"{header}.{claims}".encode(), hashlib.sha256).digest()
    assert base64.urlsafe_b64decode(signature + "=") == expected
