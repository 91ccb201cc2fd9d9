"""Passwords are argon2id, cost the same whether or not there is one, and never all processors."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from argon2 import PasswordHasher, extract_parameters
from pydantic import SecretStr

from functions.authorizer.passwords import AT_ONCE, WAITING, BusyError, Passwords, passwords
from tests.functions.authorizer.operating import PASSWORD, Counting
from tests.infra.standalone.serving import until

RIGHT, WRONG = SecretStr(PASSWORD), SecretStr("wrong")


def test_a_password_is_argon2id_with_the_parameters_of_rfc_9106_and_a_salt_of_its_own() -> None:
    one, other = passwords().hash(RIGHT), passwords().hash(RIGHT)
    assert one.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert one != other
    assert passwords().verify(one, RIGHT)
    assert not passwords().verify(one, WRONG)
    assert not passwords().outdated(one)


def test_what_nobody_has_is_compared_with_a_hash_of_the_same_parameters() -> None:
    hasher = Counting()
    some = Passwords(hasher)
    stored = some.hash(RIGHT)
    assert not some.verify(stored, WRONG)
    assert not some.verify(None, WRONG)
    of_somebody, of_nobody = hasher.verified
    assert of_somebody == of_nobody
    nobodys = some._nobodys()
    assert extract_parameters(nobodys) == extract_parameters(stored)
    assert not PasswordHasher().check_needs_rehash(passwords()._nobodys())


def test_one_letter_however_a_keyboard_sends_it() -> None:
    some = Passwords(Counting())
    assert some.verify(
        some.hash(SecretStr("caf\u00e9 caf\u00e9 caf\u00e9")), SecretStr("cafe\u0301 cafe\u0301 cafe\u0301")
    )


def test_a_hash_of_other_parameters_is_outdated() -> None:
    assert Passwords(Counting(time_cost=2)).outdated(Passwords(Counting()).hash(RIGHT))


class _Held(Counting):
    """Hashes that last until they are let go."""

    def __init__(self) -> None:
        super().__init__()
        self.go_on = threading.Event()
        self.inside = threading.Semaphore(0)
        self.at_once = self.most = 0
        self._lock = threading.Lock()

    def hash(self, password: str | bytes, *, salt: bytes | None = None) -> str:
        with self._lock:
            self.at_once += 1
            self.most = max(self.most, self.at_once)
        self.inside.release()
        assert self.go_on.wait(30)
        with self._lock:
            self.at_once -= 1
        return super().hash(password, salt=salt)


def test_no_more_are_hashed_at_a_time_than_the_machine_bears() -> None:
    hasher = _Held()
    some = Passwords(hasher)
    with ThreadPoolExecutor(AT_ONCE + WAITING) as threads:
        try:
            hashing = [threads.submit(some.hash, RIGHT) for _ in range(AT_ONCE + WAITING)]
            for _ in range(AT_ONCE):
                assert hasher.inside.acquire(timeout=30)
            until(lambda: some._inside._value == 0)  # the last of them waits for its turn
            with pytest.raises(BusyError):
                some.hash(RIGHT)
        finally:
            hasher.go_on.set()
        assert len({each.result(30) for each in hashing}) == AT_ONCE + WAITING
    assert hasher.most == AT_ONCE


def test_nobody_waits_for_ever() -> None:
    hasher = _Held()
    some = Passwords(hasher, wait_seconds=0.01)
    with ThreadPoolExecutor(AT_ONCE) as threads:
        try:
            hashing = [threads.submit(some.hash, RIGHT) for _ in range(AT_ONCE)]
            for _ in range(AT_ONCE):
                assert hasher.inside.acquire(timeout=30)
            with pytest.raises(BusyError):
                some.verify(None, WRONG)
        finally:
            hasher.go_on.set()
        assert all(each.result(30) for each in hashing)
    assert some.verify(some.hash(RIGHT), RIGHT)
