"""How the keys of access tokens take turns, so that no token is ever of a key that somebody does not know yet.

The first key signs. The next one is newer than it, and is known to everyone before it signs; older ones verify what
they have signed until that has expired.
"""

from __future__ import annotations

from contracts.claims import TOKEN_SECONDS
from functions.authorizer.keys import Keys, SigningKey, generate
from functions.authorizer.secret_keys import AGAIN_SECONDS

#: By then every token of the key that is dropped has expired, and everyone has read of the next key.
ROTATION_SECONDS = TOKEN_SECONDS + int(AGAIN_SECONDS)


class TooSoonError(Exception):
    """Keys were rotated a moment ago: `seconds` are to pass."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"{seconds} s to pass")
        self.seconds = seconds


def fresh(now: int) -> tuple[SigningKey, SigningKey]:
    """A new key that signs, and the next one."""
    return generate(now - 1), generate(now)


def rotate(keys: Keys, now: int) -> tuple[SigningKey, ...]:
    """The next key signs, the one before still verifies, and there is a new next one; any other is dropped.

    Where no key is newer than the first, as in a file that was made with one key, a new one signs at once.

    Raises:
        TooSoonError: the last rotation is less than 20 minutes ago.
    """
    newest = max((key.iat for key in keys.all if key.iat is not None), default=None)
    if newest is not None and 0 <= now - newest < ROTATION_SECONDS:
        raise TooSoonError(newest + ROTATION_SECONDS - now)
    signing = keys.signing
    newer = [key for key in keys.all if key.iat is not None and key.iat > (signing.iat or 0)]
    following = max(newer, key=lambda key: key.iat or 0) if newer else generate(now - 1)
    # Newer than the key that signs, whatever the clock says: that is how it is known.
    return following, generate(max(now, (following.iat or 0) + 1)), signing
