"""Operators' accounts: made, changed, listed. What changes an account's rights ends its sessions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Literal, LiteralString

from psycopg.rows import dict_row
from pydantic import SecretStr

from contracts.identity import OwnPasswordAsked, PasswordAsked, User, UserAsked, UserChanged, Users
from functions.audit import record
from functions.authorizer import failures, sessions
from functions.authorizer.logins import abandon, examine, locked
from functions.authorizer.passwords import BusyError, Passwords
from functions.pages import Text, decode, encode
from functions.store import Connection, Store

CREATE, CHANGE, PASSWORD = "user.create", "user.change", "user.password"

_COLUMNS: LiteralString = "select name, role, created_at, created_by, disabled_at, last_login_at from identity.operator"


class OperatorRefusedError(Exception):
    """The account stays as it is; the message says why, to somebody who was let in."""

    status = HTTPStatus.CONFLICT


class NoSuchUserError(OperatorRefusedError):
    """No account has this name."""

    status = HTTPStatus.NOT_FOUND


class UserExistsError(OperatorRefusedError):
    """An account has this name already."""


class LastAdminError(OperatorRefusedError):
    """Nobody would be left who can make accounts."""


class NotAllowedError(OperatorRefusedError):
    """The caller's token says more than their account allows by now; or the old password is wrong."""

    status = HTTPStatus.FORBIDDEN


@dataclass(frozen=True, slots=True)
class Actor:
    """Who changes accounts: an operator through the API, or the command beside the store."""

    kind: Literal["operator", "command"]
    name: str
    address: str | None = None

    @property
    def signature(self) -> str:
        """What an account says of who made it. No operator is called as a command is."""
        return self.name if self.kind == "operator" else f"command of {self.name}"


def users(store: Store, limit: int, cursor: str | None) -> Users:
    """One page of accounts.

    Raises:
        CursorError: the cursor is not of this route.
    """
    after = decode(cursor, Text)[0] if cursor else ""
    statement: LiteralString = _COLUMNS + " where name > %s order by name limit %s"
    with store.transaction() as connection, connection.cursor(row_factory=dict_row) as found:
        rows = found.execute(statement, (after, limit + 1)).fetchall()
    following = encode((rows[limit - 1]["name"],)) if len(rows) > limit else None
    return Users(items=[User(**row) for row in rows[:limit]], next=following)


def create(store: Store, passwords: Passwords, asked: UserAsked, actor: Actor, now: datetime) -> User:
    """A new account.

    Raises:
        UserExistsError, NotAllowedError, BusyError
    """
    password_hash = passwords.hash(asked.password)
    with _change(store, actor, CREATE, asked.name, {"role": asked.role}) as connection:
        _permit(connection, actor, asked.name)
        made = connection.execute(
            """
            insert into identity.operator (name, role, password_hash, password_changed_at, created_at, created_by)
            values (%s, %s, %s, %s, %s, %s)
            on conflict (name) do nothing
            """,
            (asked.name, asked.role, password_hash, now, now, actor.signature),
        ).rowcount
        if not made:
            raise UserExistsError(f"there is a user {asked.name} already")
        return _user(connection, asked.name)


def change(store: Store, name: str, asked: UserChanged, actor: Actor, now: datetime) -> User:
    """Another role, disabled, or enabled again; sessions end with a role that changes and with disabling.

    Raises:
        NoSuchUserError, LastAdminError, NotAllowedError
    """
    with _change(store, actor, CHANGE, name, asked.model_dump(exclude_none=True)) as connection:
        admins = _permit(connection, actor, name)
        before = _user(connection, name)
        role = asked.role or before.role
        disabled = before.disabled_at is not None if asked.disabled is None else asked.disabled
        if admins == {name} and (disabled or role != "admin"):
            raise LastAdminError(f"{name} is the last admin who is not disabled; make another one first")
        connection.execute(
            """
            update identity.operator
            set role = %s, disabled_at = case when %s then coalesce(disabled_at, %s) end
            where name = %s
            """,
            (role, disabled, now, name),
        )
        if disabled:
            sessions.end_all(connection, name, "disabled", now)
        elif role != before.role:
            sessions.end_all(connection, name, "role", now)
        return _user(connection, name)


def set_password(
    store: Store, passwords: Passwords, name: str, asked: PasswordAsked, actor: Actor, now: datetime
) -> None:
    """Another password, by an admin.

    Raises:
        NoSuchUserError, NotAllowedError, BusyError
    """
    password_hash = passwords.hash(asked.password)
    with _change(store, actor, PASSWORD, name) as connection:
        _permit(connection, actor, name)
        _user(connection, name)
        _store_password(connection, name, password_hash, now)


def change_own_password(
    store: Store, passwords: Passwords, asked: OwnPasswordAsked, actor: Actor, now: datetime
) -> None:
    """Another password, by whom it is of; who tries old ones is slowed as at a login.

    Raises:
        NoSuchUserError, NotAllowedError, SlowedError, BusyError
    """
    examined = examine(store, passwords, actor.name, asked.old, PASSWORD, actor.address or "", now)
    password_hash = _hash(store, passwords, asked.password, examined.attempt) if examined.right else None
    detail = {"unexamined": examined.attempt.unexamined} if examined.attempt.unexamined else {}
    with _change(store, actor, PASSWORD, actor.name, detail) as connection:
        if examined.account is None:
            raise NoSuchUserError(f"there is no user {actor.name}; this token was made without an account")
        reason = examined.reason(locked(connection, actor.name))
        if reason is not None or password_hash is None:
            raise NotAllowedError(f"old: {reason}")
        failures.succeeded(connection, examined.attempt)
        _store_password(connection, actor.name, password_hash, now)


def _hash(store: Store, passwords: Passwords, password: SecretStr, attempt: failures.Attempt) -> str:
    try:
        return passwords.hash(password)
    except BusyError:
        abandon(store, attempt)
        raise


def _store_password(connection: Connection, name: str, password_hash: str, now: datetime) -> None:
    connection.execute(
        "update identity.operator set password_hash = %s, password_changed_at = %s where name = %s",
        (password_hash, now, name),
    )
    sessions.end_all(connection, name, "password", now)


@contextmanager
def _change(
    store: Store, actor: Actor, action: str, subject: str, detail: Mapping[str, object] | None = None
) -> Iterator[Connection]:
    """A transaction with its entry in the audit log; a refusal's is written although the rest is rolled back."""

    def write(connection: Connection, outcome: Literal["done", "refused"], detail: Mapping[str, object]) -> None:
        record(
            connection,
            actor_kind=actor.kind,
            actor=actor.name,
            address=actor.address,
            action=action,
            subject=subject,
            outcome=outcome,
            detail=detail,
        )

    try:
        with store.transaction() as connection:
            yield connection
            write(connection, "done", detail or {})
    except OperatorRefusedError as error:
        with store.transaction() as connection:
            write(connection, "refused", {**(detail or {}), "reason": str(error)})
        raise


def _permit(connection: Connection, actor: Actor, name: str) -> set[str]:
    """The active admins. They are locked with the account, so that two cannot take each other's role at once.

    Raises:
        NotAllowedError: the caller is one no more, whatever their token says; for it may be minutes old.
    """
    rows = connection.execute(
        """
        select name, role, disabled_at from identity.operator
        where name in (%s, %s) or role = 'admin' and disabled_at is null
        order by name for update
        """,
        (actor.name, name),
    ).fetchall()
    admins = {found for found, role, disabled_at in rows if role == "admin" and disabled_at is None}
    if actor.kind == "operator" and actor.name in {row[0] for row in rows} - admins:
        raise NotAllowedError(f"{actor.name} is disabled, or no admin any more")
    return admins


def _user(connection: Connection, name: str) -> User:
    statement: LiteralString = _COLUMNS + " where name = %s"
    with connection.cursor(row_factory=dict_row) as found:
        row = found.execute(statement, (name,)).fetchone()
    if row is None:
        raise NoSuchUserError(f"there is no user {name}")
    return User(**row)
