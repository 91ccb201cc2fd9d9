"""Keys take turns without a token that somebody cannot verify, and none is dropped before its tokens have expired."""

from __future__ import annotations

import itertools

import pytest

from contracts.claims import TOKEN_SECONDS
from functions.authorizer.keys import Keys, generate
from functions.authorizer.rotation import ROTATION_SECONDS, TooSoonError, fresh, rotate
from functions.authorizer.secret_keys import AGAIN_SECONDS
from functions.authorizer.tokens import issue, verify
from tests.functions.events import agent_claims

NOW = 1_800_000_000


def test_the_next_key_signs_and_the_one_before_still_verifies() -> None:
    first, following = fresh(NOW)
    signing, newest, old = rotate(Keys((first, following)), NOW + ROTATION_SECONDS)
    assert (signing, old) == (following, first)
    assert newest not in (first, following)
    again = rotate(Keys((signing, newest, old)), NOW + 2 * ROTATION_SECONDS)
    assert again[0] == newest
    assert again[2] == following
    assert first not in again


def test_a_key_signs_only_after_everyone_had_time_to_read_it_and_goes_after_its_last_token() -> None:
    keys = Keys(fresh(NOW))
    known_since = {key.kid: NOW for key in keys.all}
    signed_until: dict[str, int] = {}
    for number in range(1, 6):
        now = NOW + number * ROTATION_SECONDS
        signed_until[keys.signing.kid] = now
        after = Keys(rotate(keys, now))
        assert now - known_since[after.signing.kid] >= AGAIN_SECONDS
        dropped = {key.kid for key in keys.all} - {key.kid for key in after.all}
        assert all(now - signed_until[kid] >= TOKEN_SECONDS for kid in dropped)
        for key in after.all:
            known_since.setdefault(key.kid, now)
        keys = after
        assert len(keys.all) == 3


def test_whoever_has_not_read_the_newest_keys_verifies_all_tokens() -> None:
    """Across one rotation, in either order: who signs and who verifies need not read the keys at the same moment."""
    before = Keys(fresh(NOW))
    after = Keys(rotate(before, NOW + ROTATION_SECONDS))
    claims = agent_claims(now=NOW)
    for signs, verifies in itertools.product((before, after), repeat=2):
        assert verify(issue(claims, signs), verifies, NOW) == claims


def test_twice_in_a_row_is_too_soon() -> None:
    keys = Keys(fresh(NOW))
    with pytest.raises(TooSoonError) as caught:
        rotate(keys, NOW + ROTATION_SECONDS - 7)
    assert caught.value.seconds == 7
    after = Keys(rotate(keys, NOW + ROTATION_SECONDS))
    with pytest.raises(TooSoonError):
        rotate(after, NOW + ROTATION_SECONDS + 1)


def test_a_clock_that_was_ahead_does_not_forbid_rotation() -> None:
    ahead = Keys(fresh(NOW + 86400))
    after = rotate(ahead, NOW)
    assert after[0] == ahead.all[1]
    assert rotate(Keys(after), NOW + 1)[0] == after[1]


def test_where_there_is_no_next_key_a_new_one_signs_at_once() -> None:
    for keys in ((generate(),), (generate(NOW),), (generate(), generate())):
        signing, following, old = rotate(Keys(keys), NOW + ROTATION_SECONDS)
        assert old == keys[0]
        assert signing not in keys
        assert following.iat is not None
        assert signing.iat is not None
        assert following.iat > signing.iat
