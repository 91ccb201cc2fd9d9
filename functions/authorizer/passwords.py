"""Passwords of operators: argon2id, few at a time, and as much work whether or not there is anything to find."""

from __future__ import annotations

import base64
import functools
import secrets
import threading
import time
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager

from argon2 import PasswordHasher
from argon2.exceptions import VerifyMismatchError
from pydantic import SecretStr

#: Each hashing takes 64 MiB and some processors; what more come than can wait are sent away at once.
AT_ONCE, WAITING = 2, 6

#: Nobody waits longer for their turn.
WAIT_SECONDS = 10.0


class BusyError(Exception):
    """Too many passwords are being hashed: try again later."""


class Passwords:
    """Hashes passwords, and compares them with what was stored."""

    def __init__(self, hasher: PasswordHasher | None = None, wait_seconds: float = WAIT_SECONDS) -> None:
        self._hasher = hasher or PasswordHasher()
        self._wait_seconds = wait_seconds
        self._hashing = threading.Semaphore(AT_ONCE)
        self._inside = threading.Semaphore(AT_ONCE + WAITING)

    def hash(self, password: SecretStr) -> str:
        """What is stored of a password.

        Raises:
            BusyError: too many others are being hashed.
        """
        with self._turn():
            return self._hasher.hash(_text(password))

    def verify(self, stored: str | None, password: SecretStr) -> bool:
        """Whether this is the password; where nothing is stored it never is, after the same work.

        Raises:
            BusyError: too many others are being hashed.
        """
        with self._turn():
            try:
                self._hasher.verify(stored or self._nobodys(), _text(password))
            except VerifyMismatchError:
                return False
        return stored is not None

    def outdated(self, stored: str) -> bool:
        """Whether it was hashed with other parameters than a new one would be."""
        return self._hasher.check_needs_rehash(stored)

    def _nobodys(self) -> str:
        # Random bytes in the place of a hash: no password leads to them, and to find that out takes a hashing.
        hasher = self._hasher
        salt, digest = (_encode(secrets.token_bytes(length)) for length in (hasher.salt_len, hasher.hash_len))
        parameters = f"m={hasher.memory_cost},t={hasher.time_cost},p={hasher.parallelism}"
        return f"$argon2id$v=19${parameters}${salt}${digest}"

    @contextmanager
    def _turn(self) -> Iterator[None]:
        deadline = time.monotonic() + self._wait_seconds
        if not self._inside.acquire(blocking=False):
            raise BusyError("too many passwords are being checked; try again in a few seconds")
        try:
            if not self._hashing.acquire(timeout=max(0.0, deadline - time.monotonic())):
                raise BusyError("too many passwords are being checked; try again in a few seconds")
            try:
                yield
            finally:
                self._hashing.release()
        finally:
            self._inside.release()


@functools.cache
def passwords() -> Passwords:
    """The passwords of this process, with argon2-cffi's parameters (RFC 9106, the second recommended choice)."""
    return Passwords()


def _text(password: SecretStr) -> str:
    # One keyboard sends é as one character, another as two.
    return unicodedata.normalize("NFC", password.get_secret_value())


def _encode(data: bytes) -> str:
    return base64.b64encode(data).rstrip(b"=").decode()
