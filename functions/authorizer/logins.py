"""Logins: a name and a password for a session. What is refused looks the same whatever the reason."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import LiteralString

from aws_lambda_powertools import Logger
from pydantic import SecretStr, TypeAdapter, ValidationError

from contracts.identity import LoginAsked, SessionGranted
from contracts.names import RoleName, UserName
from functions.audit import record
from functions.authorizer import failures, sessions
from functions.authorizer.failures import Attempt
from functions.authorizer.keys import Keys
from functions.authorizer.passwords import BusyError, Passwords
from functions.store import Connection, Store

logger = Logger(service="pganalytics")

_NAME = TypeAdapter[str](UserName)

_SELECT: LiteralString = """
    select name, role, password_hash, password_changed_at, disabled_at from identity.operator where name = %s
"""
_LOCK: LiteralString = _SELECT + " for update"


class LoginRefusedError(Exception):
    """Name and password are not those of somebody who may log in; which it is, only the audit log says."""

    def __init__(self) -> None:
        super().__init__("name and password are not those of an active account")


class SlowedError(Exception):
    """Too many logins failed: come back in so many seconds."""

    def __init__(self, seconds: int) -> None:
        super().__init__(f"too many logins failed; try again in {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Account:
    """An account, as far as a login needs it."""

    name: str
    role: RoleName
    password_hash: str
    password_changed_at: datetime
    disabled_at: datetime | None


@dataclass(frozen=True, slots=True)
class Examined:
    """A password that was examined: whose, whether it was right, and how it is to be stored from now on."""

    attempt: Attempt
    account: Account | None
    right: bool
    hash_anew: str | None

    def reason(self, now: Account | None) -> str | None:
        """Why nobody may log in with it, given how the account stands now; None: somebody may."""
        if self.account is None or now is None:
            return "no account has this name"
        if now.disabled_at is not None:
            return "disabled"
        if not self.right or now.password_changed_at != self.account.password_changed_at:
            return "wrong password"
        return None


def login(
    store: Store, passwords: Passwords, keys: Keys, asked: LoginAsked, address: str, now: datetime
) -> SessionGranted:
    """A new session for whoever knows name and password.

    A name that nobody has, a disabled account and a wrong password cost the same work and are told the same.

    Raises:
        LoginRefusedError: for one of these reasons.
        SlowedError: too many logins failed; nothing was examined.
        BusyError: too many passwords are being hashed.
    """
    examined = examine(store, passwords, asked.name, asked.password, "login", address, now)
    with store.transaction() as connection:
        # Locked, so that it is not disabled while the session is made.
        account = locked(connection, asked.name)
        reason = examined.reason(account)
        detail: dict[str, object] = {"unexamined": examined.attempt.unexamined} if examined.attempt.unexamined else {}
        if account is not None and reason is None:
            failures.succeeded(connection, examined.attempt)
            session, granted = sessions.start(connection, keys, account.name, account.role, now)
            connection.execute(
                """
                update identity.operator set last_login_at = %s, password_hash = coalesce(%s, password_hash)
                where name = %s
                """,
                (now, examined.hash_anew, account.name),
            )
            record(
                connection,
                actor_kind="operator",
                actor=account.name,
                address=address,
                action="login",
                subject=account.name,
                detail={"session": session, **detail},
            )
            return granted
        _refused(connection, "login", account, address, {"reason": reason, **detail})
    raise LoginRefusedError


def examine(
    store: Store, passwords: Passwords, name: str, password: SecretStr, action: str, address: str, now: datetime
) -> Examined:
    """Compare a password with an account's. The attempt counts as failed, until it is told to have succeeded.

    Raises:
        SlowedError: too many attempts failed; nothing was examined.
        BusyError: too many passwords are being hashed.
    """
    attempt, account = _begin(store, name, action, address, now)
    try:
        right = passwords.verify(account.password_hash if account else None, password)
        outdated = account is not None and right and passwords.outdated(account.password_hash)
        anew = passwords.hash(password) if outdated else None
    except BusyError:
        abandon(store, attempt)
        raise
    return Examined(attempt, account, right, anew)


def abandon(store: Store, attempt: Attempt) -> None:
    """Count an attempt no more that could not be brought to its end."""
    with store.transaction() as connection:
        failures.abandoned(connection, attempt)


def locked(connection: Connection, name: str) -> Account | None:
    """An account as it stands now, and for as long as the transaction lasts."""
    return _account(connection, name, _LOCK)


def _begin(store: Store, name: str, action: str, address: str, now: datetime) -> tuple[Attempt, Account | None]:
    with store.transaction() as connection:
        attempt = failures.begin(connection, name, address, now)
        account = _account(connection, name, _SELECT)
        if isinstance(attempt, Attempt):
            return attempt, account
        if attempt.first:
            # One entry tells of all that come too early; that of the next attempt has their number.
            detail = {"reason": "slowed after too many failures", "seconds": attempt.seconds}
            _refused(connection, action, account, address, detail)
    raise SlowedError(attempt.seconds)


def _refused(
    connection: Connection, action: str, account: Account | None, address: str, detail: dict[str, object]
) -> None:
    # A name that no account has is not written down: now and then it is somebody's password, in the wrong field.
    name = account.name if account else None
    logger.warning("refused", extra={"action": action, "address": address, "user": name, **detail})
    record(
        connection,
        actor_kind="nobody",
        actor=name,
        address=address,
        action=action,
        subject=name,
        outcome="refused",
        detail=detail,
    )


def _account(connection: Connection, name: str, statement: LiteralString) -> Account | None:
    try:
        _NAME.validate_python(name)
    except ValidationError:
        name = ""  # no account has that one either, and the database takes it as a text
    row = connection.execute(statement, (name,)).fetchone()
    return Account(*row) if row else None
