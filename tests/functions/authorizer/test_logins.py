"""A login says the same whatever is wrong with it, and its failures lock nobody else out."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from psycopg import sql
from pydantic import SecretStr

from contracts.claims import OperatorClaims
from contracts.identity import LoginAsked, UserChanged
from functions.authorizer.failures import FREE_OF_PAIR, hashed
from functions.authorizer.keys import KeysError
from functions.authorizer.logins import LoginRefusedError, SlowedError, login
from functions.authorizer.operators import change
from functions.authorizer.passwords import BusyError, Passwords
from functions.authorizer.tokens import verify
from functions.store import Connection
from tests.functions.authorizer.operating import (
    COMMAND,
    ELSEWHERE,
    HERE,
    KEYS,
    NOW,
    PASSWORD,
    Counting,
    Operators,
    audited,
)

WRONG = "this is not the password"


def test_a_login_grants_fifteen_minutes_under_ones_role(operators: Operators, connection: Connection) -> None:
    granted = operators.login()
    claims = verify(granted.access_token, KEYS, NOW.timestamp())
    assert isinstance(claims, OperatorClaims)
    assert (claims.sub, claims.scope, claims.exp - claims.iat, granted.expires_in) == ("ann", "viewer", 900, 900)
    assert (granted.name, granted.role) == ("ann", "viewer")
    assert connection.execute("select last_login_at from identity.operator").fetchall() == [(NOW,)]
    assert audited(connection, "login") == [("operator", "ann", HERE, "login", "ann", "done", None)]


def _refusal(operators: Operators, name: str, password: str) -> tuple[str, list[str]]:
    """What the caller is told, and what was verified."""
    operators.hasher.verified.clear()
    with pytest.raises(LoginRefusedError) as refused:
        operators.login(name, password)
    return str(refused.value), list(operators.hasher.verified)


def test_a_caller_cannot_tell_why_they_are_refused(operators: Operators, connection: Connection) -> None:
    operators.add("off")
    change(operators.store, "off", UserChanged(disabled=True), COMMAND, NOW)
    asked = [("nobody", PASSWORD), ("off", PASSWORD), ("off", WRONG), ("ann", WRONG), ("Not a name\0", PASSWORD)]
    told = [_refusal(operators, *each) for each in asked]
    assert [each == told[0] for each in told] == [True] * len(asked)
    assert len(told[0][1]) == 1  # one verification of the same parameters each
    assert audited(connection, "login") == [
        ("nobody", None, HERE, "login", None, "refused", "no account has this name"),
        ("nobody", "off", HERE, "login", "off", "refused", "disabled"),
        ("nobody", "off", HERE, "login", "off", "refused", "disabled"),
        ("nobody", "ann", HERE, "login", "ann", "refused", "wrong password"),
        ("nobody", None, HERE, "login", None, "refused", "no account has this name"),
    ]


def test_a_password_in_the_field_of_the_name_is_not_written_down(operators: Operators, connection: Connection) -> None:
    for name in (PASSWORD, PASSWORD.replace(" ", "-")):
        with pytest.raises(LoginRefusedError):
            operators.login(name, "ann")
    assert _found_anywhere(connection, PASSWORD[:7]) == []


def test_no_secret_is_stored_or_logged_as_it_is(
    operators: Operators, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    granted = operators.login()
    with pytest.raises(LoginRefusedError):
        operators.login(password=WRONG)
    for secret in (PASSWORD, WRONG, granted.refresh_token, granted.access_token):
        assert _found_anywhere(connection, secret) == []
    logged = " ".join(str(vars(line)) for line in caplog.records)
    assert "wrong password" in logged
    for secret in (PASSWORD, WRONG, granted.refresh_token, granted.access_token):
        assert secret not in logged
    assert granted.refresh_token not in repr(granted)
    assert granted.access_token not in repr(granted)


def _found_anywhere(connection: Connection, text: str) -> list[str]:
    tables = connection.execute("select schemaname, tablename from pg_tables where schemaname = 'identity'").fetchall()
    found = []
    for schema, table in tables:
        statement = sql.SQL("select count(*) from {} t where strpos(t::text, %s) > 0").format(
            sql.Identifier(schema, table)
        )
        if connection.execute(statement, (text,)).fetchone() != (0,):
            found.append(f"{schema}.{table}")
    return sorted(found)


@pytest.mark.parametrize("name", ["ann", "nobody", "Not a name"])
def test_too_many_failures_are_told_to_wait_whether_or_not_the_account_exists(operators: Operators, name: str) -> None:
    for _ in range(FREE_OF_PAIR):
        _refusal(operators, name, WRONG)
    operators.hasher.verified.clear()
    with pytest.raises(SlowedError) as slowed:
        operators.login(name)
    assert slowed.value.seconds == 1
    assert operators.hasher.verified == []


def test_nobody_locks_another_out(operators: Operators, connection: Connection) -> None:
    """Hundreds of failures from one address, as fast as they are let; then the owner, from theirs."""
    now = NOW
    for _ in range(300):
        try:
            operators.login(password=WRONG, address=ELSEWHERE, now=now)
        except SlowedError as slowed:
            now += timedelta(seconds=slowed.seconds)
        except LoginRefusedError:
            pass
    (failures,) = connection.execute("select failures from identity.failure where account = %s", (hashed("ann"),))
    assert failures[0] > 100
    operators.hasher.verified.clear()
    assert operators.login(address=HERE, now=now).name == "ann"
    assert len(operators.hasher.verified) == 1
    with pytest.raises(SlowedError):
        operators.login(address=ELSEWHERE, now=now - timedelta(seconds=1))


def test_an_address_that_tries_many_accounts_is_told_to_wait(operators: Operators) -> None:
    for number in range(20):
        _refusal(operators, f"user{number}", WRONG)
    with pytest.raises(SlowedError):
        operators.login()
    assert operators.login(address=ELSEWHERE).name == "ann"


def test_success_begins_the_count_anew(operators: Operators) -> None:
    for _ in range(3):
        for _ in range(FREE_OF_PAIR - 1):
            _refusal(operators, "ann", WRONG)
        operators.login()


def test_many_that_come_too_early_are_one_entry_and_a_number(operators: Operators, connection: Connection) -> None:
    for _ in range(FREE_OF_PAIR):
        _refusal(operators, "ann", WRONG)
    for _ in range(50):
        with pytest.raises(SlowedError):
            operators.login()
    operators.login(now=NOW + timedelta(seconds=1))
    reasons = [entry[-1] for entry in audited(connection, "login")]
    assert reasons == ["wrong password"] * FREE_OF_PAIR + ["slowed after too many failures", None]
    newest = connection.execute("select detail -> 'unexamined' from identity.audit order by id desc limit 1")
    assert newest.fetchone() == (50,)


def test_a_server_that_is_busy_counts_nothing(operators: Operators, connection: Connection) -> None:
    while operators.passwords._inside.acquire(blocking=False):
        pass
    with pytest.raises(BusyError):
        operators.login()
    assert connection.execute("select failures from identity.failure").fetchall() == [(0,), (0,)]


def test_a_hash_of_older_parameters_is_renewed_at_a_login(operators: Operators, connection: Connection) -> None:
    operators.passwords = Passwords(Counting(time_cost=2))
    operators.login()
    ((stored,),) = connection.execute("select password_hash from identity.operator").fetchall()
    assert "t=2" in stored
    operators.login()


class _Meanwhile(Counting):
    """Something happens while a password is compared."""

    def __init__(self, happens: object) -> None:
        super().__init__()
        self.happens = happens

    def verify(self, hash: str | bytes, password: str | bytes) -> bool:  # type: ignore[override]
        assert callable(self.happens)
        right = super().verify(hash, password)
        self.happens()
        return right


def test_who_is_disabled_while_logging_in_is_not_let_in(operators: Operators, connection: Connection) -> None:
    operators.passwords = Passwords(
        _Meanwhile(lambda: change(operators.store, "ann", UserChanged(disabled=True), COMMAND, NOW))
    )
    with pytest.raises(LoginRefusedError):
        operators.login()
    assert connection.execute("select count(*) from identity.session").fetchone() == (0,)


def test_a_password_that_was_changed_while_it_was_compared_is_not_good(operators: Operators) -> None:
    def changed() -> None:
        with operators.store.transaction() as connection:
            connection.execute("update identity.operator set password_changed_at = %s", (NOW + timedelta(seconds=1),))

    operators.passwords = Passwords(_Meanwhile(changed))
    with pytest.raises(LoginRefusedError):
        operators.login()


def test_logins_of_one_account_at_once_all_succeed(operators: Operators) -> None:
    def one(_: int) -> str:
        try:
            return operators.login().refresh_token
        finally:
            operators.store.close()

    with ThreadPoolExecutor(4) as threads:
        assert len(set(threads.map(one, range(4)))) == 4


def test_without_keys_nobody_is_let_in_and_nothing_stays(operators: Operators, connection: Connection) -> None:
    class Broken:
        @property
        def signing(self) -> object:
            raise KeysError("keys.json: No such file or directory")

    asked = LoginAsked(name="ann", password=SecretStr(PASSWORD))
    with pytest.raises(KeysError):
        login(operators.store, operators.passwords, Broken(), asked, HERE, NOW)  # type: ignore[arg-type]
    assert connection.execute("select count(*) from identity.session").fetchone() == (0,)
