"""A session goes on with tokens that are good once, and ends when two parties have the same one."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta

import pytest
from pydantic import SecretStr

from contracts.claims import OperatorClaims
from contracts.identity import OwnPasswordAsked, PasswordAsked, SessionGranted, UserChanged
from functions.authorizer.keys import Keys, KeysError
from functions.authorizer.operators import Actor, change, change_own_password, set_password
from functions.authorizer.sessions import REFRESH, SESSION, SessionEndedError, logout, refresh
from functions.authorizer.tokens import verify
from functions.store import Connection
from tests.functions.authorizer.operating import (
    ANOTHER,
    COMMAND,
    ELSEWHERE,
    HERE,
    KEYS,
    NOW,
    PASSWORD,
    Operators,
    audited,
)


def _refresh(
    operators: Operators, granted: SessionGranted, now: datetime = NOW, address: str = HERE, keys: Keys = KEYS
) -> SessionGranted:
    return refresh(operators.store, keys, SecretStr(granted.refresh_token), address, now)


def _ended(operators: Operators, granted: SessionGranted, now: datetime = NOW) -> bool:
    try:
        _refresh(operators, granted, now)
    except SessionEndedError:
        return True
    return False


def _why(connection: Connection) -> list[str | None]:
    return [why for (why,) in connection.execute("select ended_why from identity.session order by created_at")]


def test_a_session_goes_on_with_one_token_after_another(operators: Operators) -> None:
    granted, now = operators.login(), NOW
    for _ in range(3):
        now += timedelta(minutes=14)
        following = _refresh(operators, granted, now)
        assert following.refresh_token != granted.refresh_token
        claims = verify(following.access_token, KEYS, now.timestamp())
        assert isinstance(claims, OperatorClaims)
        assert (claims.sub, claims.scope, claims.exp) == ("ann", "viewer", int(now.timestamp()) + 900)
        granted = following


def test_a_token_that_comes_twice_ends_the_session_for_both(operators: Operators, connection: Connection) -> None:
    stolen = operators.login()
    owners = _refresh(operators, stolen)
    assert _ended(operators, stolen)
    assert _ended(operators, owners)
    assert _why(connection) == ["reuse"]
    assert audited(connection, "refresh") == [
        ("operator", "ann", HERE, "refresh", "ann", "refused", "a refresh token came twice, which ended its session")
    ]


def test_reuse_is_told_once_and_with_the_address_it_came_from(operators: Operators, connection: Connection) -> None:
    stolen = operators.login()
    _refresh(operators, stolen)
    for _ in range(3):
        with pytest.raises(SessionEndedError):
            _refresh(operators, stolen, address=ELSEWHERE)
    assert [entry[2] for entry in audited(connection, "refresh")] == [ELSEWHERE]


def test_reuse_costs_the_other_sessions_nothing(operators: Operators) -> None:
    stolen, other = operators.login(), operators.login()
    _refresh(operators, stolen)
    assert _ended(operators, stolen)
    assert not _ended(operators, other)


@pytest.mark.parametrize("times", range(5))
def test_of_two_refreshes_at_once_one_wins_and_the_other_ends_the_session(
    operators: Operators, connection: Connection, times: int
) -> None:
    granted, together = operators.login(), threading.Barrier(2)

    def one(_: int) -> SessionGranted | None:
        together.wait(30)
        try:
            return _refresh(operators, granted)
        except SessionEndedError:
            return None
        finally:
            operators.store.close()

    with ThreadPoolExecutor(2) as threads:
        won = [each for each in threads.map(one, range(2)) if each]
    assert len(won) == 1
    assert _ended(operators, won[0])
    assert _why(connection) == ["reuse"]
    assert len(audited(connection, "refresh")) == 1


def test_a_refresh_token_is_good_for_a_week_and_a_session_for_a_month(operators: Operators) -> None:
    assert not _ended(operators, operators.login(), NOW + REFRESH - timedelta(seconds=1))
    assert _ended(operators, operators.login(), NOW + REFRESH)
    granted, now = operators.login(), NOW
    while now + timedelta(days=6) < NOW + SESSION:
        now += timedelta(days=6)
        granted = _refresh(operators, granted, now)
    late = NOW + SESSION - timedelta(seconds=60)
    granted = _refresh(operators, granted, late)
    assert granted.expires_in == 60
    assert _ended(operators, granted, NOW + SESSION)


def test_a_token_that_expired_unused_ends_nothing(operators: Operators, connection: Connection) -> None:
    granted = operators.login()
    assert _ended(operators, granted, NOW + REFRESH)
    assert _why(connection) == [None]
    assert audited(connection, "refresh") == []


@pytest.mark.parametrize("token", ["", "pgr_", "pgr_" + "A" * 43, "'; --", "\u00e9" * 50])
def test_a_strange_token_is_told_no_more_than_an_old_one(operators: Operators, token: str) -> None:
    with pytest.raises(SessionEndedError) as strange:
        refresh(operators.store, KEYS, SecretStr(token), HERE, NOW)
    granted = operators.login()
    with pytest.raises(SessionEndedError) as old:
        _refresh(operators, granted, NOW + REFRESH)
    assert str(strange.value) == str(old.value)


def test_logout_ends_the_session_and_no_other(operators: Operators, connection: Connection) -> None:
    granted, other = operators.login(), operators.login()
    logout(operators.store, SecretStr(granted.refresh_token), HERE, NOW)
    assert _ended(operators, granted)
    assert not _ended(operators, other)
    logout(operators.store, SecretStr(granted.refresh_token), HERE, NOW)
    logout(operators.store, SecretStr("pgr_unknown"), HERE, NOW)
    assert audited(connection, "logout") == [("operator", "ann", HERE, "logout", "ann", "done", None)]


def test_after_a_logout_no_refresh_counts_as_reuse(operators: Operators, connection: Connection) -> None:
    stolen = operators.login()
    owners = _refresh(operators, stolen)
    logout(operators.store, SecretStr(owners.refresh_token), HERE, NOW)
    assert _ended(operators, stolen)
    assert _why(connection) == ["logout"]


def test_who_is_disabled_goes_on_no_more_even_when_enabled_again(operators: Operators, connection: Connection) -> None:
    granted = operators.login()
    change(operators.store, "ann", UserChanged(disabled=True), COMMAND, NOW)
    assert _ended(operators, granted)
    change(operators.store, "ann", UserChanged(disabled=False), COMMAND, NOW)
    assert _ended(operators, granted)
    assert _why(connection) == ["disabled"]
    assert operators.login().name == "ann"


def test_another_role_ends_all_sessions_and_the_same_role_none(operators: Operators, connection: Connection) -> None:
    sessions = [operators.login(), operators.login()]
    change(operators.store, "ann", UserChanged(role="viewer", disabled=False), COMMAND, NOW)
    sessions = [_refresh(operators, each) for each in sessions]
    change(operators.store, "ann", UserChanged(role="operator"), COMMAND, NOW)
    assert [_ended(operators, each) for each in sessions] == [True, True]
    assert _why(connection) == ["role", "role"]
    assert operators.login().role == "operator"


@pytest.mark.parametrize("by_admin", [True, False])
def test_another_password_ends_all_sessions(operators: Operators, connection: Connection, by_admin: bool) -> None:
    sessions = [operators.login(), operators.login()]
    if by_admin:
        asked = PasswordAsked(password=SecretStr(ANOTHER))
        set_password(operators.store, operators.passwords, "ann", asked, COMMAND, NOW)
    else:
        own = OwnPasswordAsked(old=SecretStr(PASSWORD), password=SecretStr(ANOTHER))
        change_own_password(operators.store, operators.passwords, own, Actor("operator", "ann", HERE), NOW)
    assert [_ended(operators, each) for each in sessions] == [True, True]
    assert _why(connection) == ["password", "password"]
    assert operators.login(password=ANOTHER).name == "ann"


def test_a_refresh_that_cannot_be_signed_costs_no_token(operators: Operators) -> None:
    class Broken(Keys):
        @property
        def signing(self) -> object:  # type: ignore[override]
            raise KeysError("keys.json: No such file or directory")

    granted = operators.login()
    with pytest.raises(KeysError):
        _refresh(operators, granted, keys=Broken(()))
    assert not _ended(operators, granted)
