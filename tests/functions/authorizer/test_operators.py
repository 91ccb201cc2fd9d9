"""Accounts are made and changed by admins, never all taken away, and every change is written down."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from pydantic import SecretStr, ValidationError

from contracts.identity import OwnPasswordAsked, PasswordAsked, UserAsked, UserChanged
from functions.authorizer.failures import FREE_OF_PAIR
from functions.authorizer.logins import LoginRefusedError, SlowedError
from functions.authorizer.operators import (
    Actor,
    LastAdminError,
    NoSuchUserError,
    NotAllowedError,
    UserExistsError,
    change,
    change_own_password,
    create,
    set_password,
    users,
)
from functions.authorizer.passwords import BusyError
from functions.store import Connection, Store
from tests.functions.authorizer.operating import ANOTHER, HERE, NOW, PASSWORD, Operators, audited

ROOT = Actor("operator", "root", HERE)


@pytest.fixture
def admins(operators: Operators) -> Operators:
    """root is an admin beside ann."""
    operators.add("root", "admin")
    return operators


def _create(admins: Operators, name: str, actor: Actor = ROOT) -> None:
    asked = UserAsked(name=name, role="viewer", password=SecretStr(PASSWORD))
    create(admins.store, admins.passwords, asked, actor, NOW)


def _own(admins: Operators, old: str, name: str = "ann") -> None:
    asked = OwnPasswordAsked(old=SecretStr(old), password=SecretStr(ANOTHER))
    change_own_password(admins.store, admins.passwords, asked, Actor("operator", name, HERE), NOW)


def test_no_store_has_an_account_of_its_own(store: Store) -> None:
    assert users(store, 10, None).items == []


def test_an_account_says_who_made_it(admins: Operators) -> None:
    _create(admins, "ben")
    made_by = {user.name: user.created_by for user in users(admins.store, 10, None).items}
    assert made_by == {"ann": "command of root", "ben": "root", "root": "command of root"}


def test_a_name_is_taken_once(admins: Operators, connection: Connection) -> None:
    with pytest.raises(UserExistsError):
        _create(admins, "ann")
    assert admins.login().name == "ann"
    assert audited(connection, "user.create")[-1] == (
        "operator",
        "root",
        HERE,
        "user.create",
        "ann",
        "refused",
        "there is a user ann already",
    )


@pytest.mark.parametrize("password", ["", "elevenchars", "x" * 257])
def test_a_password_has_twelve_characters_or_more(password: str) -> None:
    for model, more in (
        (UserAsked, {"name": "ben", "role": "viewer"}),
        (PasswordAsked, {}),
        (OwnPasswordAsked, {"old": "x"}),
    ):
        with pytest.raises(ValidationError) as refused:
            model.model_validate({**more, "password": password})
        assert not password or password not in str(refused.value)


def test_every_change_is_written_down_with_actor_and_address(admins: Operators, connection: Connection) -> None:
    change(admins.store, "ann", UserChanged(role="operator"), ROOT, NOW)
    change(admins.store, "ann", UserChanged(disabled=True), ROOT, NOW)
    set_password(admins.store, admins.passwords, "ann", PasswordAsked(password=SecretStr(ANOTHER)), ROOT, NOW)
    rows = connection.execute(
        """
        select actor, address, action, subject, outcome, detail from identity.audit
        where actor = 'root' and address is not null order by id
        """
    )
    assert rows.fetchall() == [
        ("root", HERE, "user.change", "ann", "done", {"role": "operator"}),
        ("root", HERE, "user.change", "ann", "done", {"disabled": True}),
        ("root", HERE, "user.password", "ann", "done", {}),
    ]
    _create(admins, "ben")
    assert audited(connection)[-1] == ("operator", "root", HERE, "user.create", "ben", "done", None)


def test_who_is_not_there_cannot_be_changed(admins: Operators, connection: Connection) -> None:
    with pytest.raises(NoSuchUserError):
        change(admins.store, "ben", UserChanged(disabled=True), ROOT, NOW)
    with pytest.raises(NoSuchUserError):
        set_password(admins.store, admins.passwords, "ben", PasswordAsked(password=SecretStr(ANOTHER)), ROOT, NOW)
    assert [entry[4:] for entry in audited(connection)[-2:]] == [("ben", "refused", "there is no user ben")] * 2


@pytest.mark.parametrize("changed", [UserChanged(disabled=True), UserChanged(role="operator")])
def test_the_last_admin_stays(admins: Operators, connection: Connection, changed: UserChanged) -> None:
    with pytest.raises(LastAdminError):
        change(admins.store, "root", changed, ROOT, NOW)
    assert audited(connection)[-1][3:6] == ("user.change", "root", "refused")
    admins.add("other", "admin")
    change(admins.store, "other", UserChanged(disabled=True), ROOT, NOW)  # who is disabled is no admin that counts
    with pytest.raises(LastAdminError):
        change(admins.store, "root", changed, ROOT, NOW)
    change(admins.store, "other", UserChanged(disabled=False), ROOT, NOW)
    change(admins.store, "root", changed, ROOT, NOW)
    assert {user.name: (user.role, user.disabled_at) for user in users(admins.store, 10, None).items}["other"] == (
        "admin",
        None,
    )


@pytest.mark.parametrize("times", range(5))
def test_two_admins_cannot_take_each_other_away(admins: Operators, times: int) -> None:
    admins.add("other", "admin")
    together = threading.Barrier(2)

    def take_away(pair: tuple[str, str]) -> bool:
        actor, name = pair
        together.wait(30)
        try:
            change(admins.store, name, UserChanged(disabled=True), Actor("operator", actor, HERE), NOW)
        except (LastAdminError, NotAllowedError):
            return False
        finally:
            admins.store.close()
        return True

    with ThreadPoolExecutor(2) as threads:
        assert sorted(threads.map(take_away, [("root", "other"), ("other", "root")])) == [False, True]
    left = [user for user in users(admins.store, 10, None).items if user.role == "admin" and not user.disabled_at]
    assert len(left) == 1


def test_a_token_of_before_does_not_make_an_admin_again(admins: Operators, connection: Connection) -> None:
    """An access token is good for minutes after its account was taken away."""
    admins.add("other", "admin")
    other = Actor("operator", "other", HERE)
    change(admins.store, "other", UserChanged(role="viewer"), ROOT, NOW)
    for attempt in (
        lambda: change(admins.store, "other", UserChanged(role="admin"), other, NOW),
        lambda: _create(admins, "another", other),
        lambda: set_password(
            admins.store, admins.passwords, "root", PasswordAsked(password=SecretStr(ANOTHER)), other, NOW
        ),
    ):
        with pytest.raises(NotAllowedError):
            attempt()
    assert [entry[5] for entry in audited(connection)[-3:]] == ["refused"] * 3
    assert admins.login("root").role == "admin"


def test_a_token_made_beside_the_keys_needs_no_account(admins: Operators) -> None:
    _create(admins, "ben", Actor("operator", "script", HERE))
    assert admins.login("ben").name == "ben"


def test_who_disables_keeps_the_time_of_the_first(admins: Operators) -> None:
    first = change(admins.store, "ann", UserChanged(disabled=True), ROOT, NOW).disabled_at
    assert first == NOW
    assert change(admins.store, "ann", UserChanged(disabled=True, role="operator"), ROOT, NOW).disabled_at == first
    assert change(admins.store, "ann", UserChanged(role="viewer"), ROOT, NOW).disabled_at == first


def test_ones_own_password_needs_the_old_one(admins: Operators, connection: Connection) -> None:
    with pytest.raises(NotAllowedError, match="old: wrong password"):
        _own(admins, "not the old one")
    assert audited(connection)[-1] == (
        "operator",
        "ann",
        HERE,
        "user.password",
        "ann",
        "refused",
        "old: wrong password",
    )
    _own(admins, PASSWORD)
    with pytest.raises(LoginRefusedError):
        admins.login()
    assert admins.login(password=ANOTHER).name == "ann"


def test_whoever_has_a_token_cannot_try_old_passwords_for_ever(admins: Operators, connection: Connection) -> None:
    for _ in range(FREE_OF_PAIR):
        with pytest.raises(NotAllowedError):
            _own(admins, "not the old one")
    with pytest.raises(SlowedError):
        _own(admins, PASSWORD)
    assert audited(connection)[-1][3:] == ("user.password", "ann", "refused", "slowed after too many failures")


def test_a_token_without_an_account_has_no_password(admins: Operators) -> None:
    with pytest.raises(NoSuchUserError):
        _own(admins, PASSWORD, "script")


def test_a_server_that_is_busy_changes_no_password(admins: Operators, connection: Connection) -> None:
    while admins.passwords._inside.acquire(blocking=False):
        pass
    with pytest.raises(BusyError):
        _own(admins, PASSWORD)
    with pytest.raises(BusyError):
        _create(admins, "ben")
    assert connection.execute("select distinct failures from identity.failure").fetchall() == [(0,)]


def test_a_server_that_is_busy_with_the_new_password_counts_no_failure(
    admins: Operators, connection: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    def busy(_: object) -> str:
        raise BusyError

    monkeypatch.setattr(admins.passwords, "hash", busy)
    with pytest.raises(BusyError):
        _own(admins, PASSWORD)
    assert connection.execute("select distinct failures from identity.failure").fetchall() == [(0,)]
    assert admins.login().name == "ann"


def test_pages_of_any_size_list_everybody_once(admins: Operators) -> None:
    for name in ("ben", "cat", "dan"):
        admins.add(name)
    for limit in (1, 2, 5):
        names, page = [], users(admins.store, limit, None)
        while True:
            names += [user.name for user in page.items]
            if page.next is None:
                break
            page = users(admins.store, limit, page.next)
        assert names == ["ann", "ben", "cat", "dan", "root"]


def test_no_listing_has_a_hash(admins: Operators) -> None:
    assert "argon2" not in users(admins.store, 10, None).model_dump_json()
