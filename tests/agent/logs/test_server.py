"""Promises kept with a real server's log: its forms say the same, and no value of a statement is in any."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import TypeVar

import psycopg
import pytest

from agent.logs.follow import LogFollower, matching
from agent.logs.parser import Dialect, Form
from infra.standalone.embedded import EmbeddedPostgres

SECRET = "s3cretHunter"

Entry = dict[str, object]
Entries = Callable[..., list[Entry]]
T = TypeVar("T")


def until(condition: Callable[[], T | None], seconds: float = 10.0) -> T:
    """What the condition gives once it gives something."""
    deadline = time.monotonic() + seconds
    while (result := condition()) is None:
        assert time.monotonic() < deadline, "the condition did not come true in time"
    return result


@pytest.fixture
def folder(server: EmbeddedPostgres) -> Path:
    return server.data / "log"


@pytest.fixture
def connection(server: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(server.dsn() + " application_name='the app'", autocommit=True) as connection:
        connection.execute("drop table if exists t; create table t (id int primary key, name text not null)")
        yield connection


def failing(connection: psycopg.Connection, sql: str, *values: object) -> None:
    with pytest.raises(psycopg.Error):
        connection.execute(sql, values or None)


def deadlock(server: EmbeddedPostgres) -> None:
    meet = threading.Barrier(2, timeout=10)

    def cross(first: int, second: int) -> None:
        with psycopg.connect(server.dsn()) as connection:
            connection.execute("update t set name = %s where id = %s", (SECRET, first))
            meet.wait()
            try:
                connection.execute(f"update t set name = '{SECRET}' where id = {second}")
            except psycopg.errors.DeadlockDetected:
                connection.rollback()

    threads = [threading.Thread(target=cross, args=pair) for pair in ((1, 2), (2, 1))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def work(server: EmbeddedPostgres, connection: psycopg.Connection) -> None:
    """Everything that puts values into a log."""
    connection.execute(f"select 1, '{SECRET}' -- {SECRET}\n  , 'two\nlines', \"name\" from t")
    connection.execute("insert into t values (%s, %s)", (1, SECRET))
    connection.execute("insert into t values (%s, %s)", (2, SECRET), prepare=True)
    failing(connection, "insert into t values (%s, %s)", 1, SECRET)
    failing(connection, f"insert into t values (3, null) /* {SECRET} */")
    failing(connection, f"select '{SECRET}'::int")
    failing(connection, f"select $${SECRET}$$::jsonb")
    failing(connection, f"selec '{SECRET}'")
    failing(connection, f"select * from nowhere where a = '{SECRET}'")
    failing(connection, f"do $$ begin raise exception 'customer {SECRET} is 42'; end $$")
    failing(connection, f"do $$ begin execute 'select ''{SECRET}''::int'; end $$")
    failing(connection, f"do $$ declare i int; begin i := '{SECRET}'; end $$")
    failing(connection, f"set datestyle = '{SECRET}'")
    with pytest.raises(psycopg.Error), connection.cursor().copy("copy t from stdin") as copy:
        copy.write(f"{SECRET}\tx\n")
    connection.execute("set auto_explain.log_min_duration = 0")
    connection.execute(f"select * from t where name = '{SECRET}'")
    connection.execute("set auto_explain.log_format = json")
    connection.execute(f"select * from t where name = '{SECRET}'")
    connection.execute("reset auto_explain.log_min_duration")
    with pytest.raises(psycopg.OperationalError):
        psycopg.connect(server.dsn(database="no_such_database"))
    deadlock(server)
    connection.execute("select 'the end' as the_end")


def has_end(found: list[Entry]) -> bool:
    return any("the_end" in str(entry["statement"]) for entry in found)


def everything(follower: LogFollower, entries: Entries) -> list[Entry]:
    found: list[Entry] = []

    def more() -> list[Entry] | None:
        found.extend(entries(follower))
        return found if has_end(found) else None

    return until(more)


def begun(found: list[Entry]) -> list[Entry]:
    # What the set-up did may reach one file before a follower begins, and another after.
    first = next(index for index, entry in enumerate(found) if "the_beginning" in str(entry["statement"]))
    return found[first:]


@pytest.fixture
def logs(
    server: EmbeddedPostgres,
    connection: psycopg.Connection,
    folder: Path,
    dialect: Dialect,
    entries: Entries,
    forms: list[Form],
) -> dict[Form, list[Entry]]:
    with ExitStack() as stack:
        followers = {
            form: stack.enter_context(LogFollower(partial(matching, folder, "*"), dialect=dialect, form=form))
            for form in forms
        }
        for follower in followers.values():
            entries(follower)
        connection.execute("select 'the beginning' as the_beginning")
        work(server, connection)
        return {form: begun(everything(follower, entries)) for form, follower in followers.items()}


def told(entry: Entry) -> dict[str, object]:
    return {name: value for name, value in entry.items() if name not in ("file_id", "position")}


def test_all_forms_say_the_same_and_no_value_is_in_any(
    logs: dict[Form, list[Entry]], connection: psycopg.Connection
) -> None:
    # Each process writes its entry to the files one after the other: between them others may come first.
    best, *others = (sorted(map(told, entries), key=repr) for entries in logs.values())
    assert others
    for other in others:
        assert other == best
    assert SECRET not in repr(logs)

    by_code = {entry["sqlstate"]: entry for entry in best}
    assert {"00000", "23505", "23502", "22P02", "42601", "42P01", "P0001", "3D000", "40P01"} <= set(by_code)
    assert by_code["23505"]["message"] == 'duplicate key value violates unique constraint "t_pkey"'
    assert by_code["23505"]["detail"] == "Key (id)=(?) already exists."
    assert by_code["23505"]["statement"] == "insert into t values ($1, $2)"
    assert by_code["3D000"]["severity"] == "FATAL"
    assert by_code["P0001"]["message"] == "?"
    assert by_code["P0001"]["context"] == "PL/pgSQL function inline_code_block line 1 at RAISE"
    assert "update t set name = ? where id = ?" in str(by_code["40P01"]["detail"])
    (now,) = connection.execute("select extract(epoch from clock_timestamp())").fetchone() or (0,)
    for entry in best:
        assert isinstance(entry["logged_at"], int)
        assert 0 <= int(now) + 1 - entry["logged_at"] / 1e6 < 60
    slow = next(entry for entry in best if "two" not in str(entry) and '"name" from t' in str(entry["statement"]))
    assert slow["statement"] == 'select ?, ?  \n  , ?, "name" from t'
    assert slow["message"] == f"duration: {int(str(slow['duration_us'])) / 1000:.3f} ms  statement"
    assert (slow["severity"], slow["user_name"], slow["database_name"]) == ("LOG", "postgres", "postgres")
    assert (slow["application_name"], slow["pid"]) == ("the app", connection.info.backend_pid)
    assert slow["backend_type"] == "client backend"
    plans = [entry["statement"] for entry in best if str(entry["message"]).endswith("  plan")]
    assert sorted(map(str, plans)) == ["None", "select * from t where name = ?"]


def test_an_entry_is_read_once_across_a_rotation(
    connection: psycopg.Connection, folder: Path, dialect: Dialect, entries: Entries
) -> None:
    with LogFollower(partial(matching, folder, "*"), dialect=dialect) as follower:
        entries(follower)
        found: list[Entry] = []
        for turn in range(3):
            before = current(connection)
            connection.execute(f"select {turn} as before_{turn}")

            # The name of the file is the second: within the same one the server would go on in the same file.
            def rotated(before: str = before) -> bool | None:
                connection.execute("select pg_rotate_logfile()")
                return current(connection) != before or None

            until(rotated)
            connection.execute(f"select {turn} as after_{turn}")
        connection.execute("select 'the end' as the_end")

        def more() -> bool | None:
            found.extend(entries(follower))
            return has_end(found) or None

        until(more)
    wanted = [f"select ? as {side}_{turn}" for turn in range(3) for side in ("before", "after")]
    assert [entry["statement"] for entry in found if entry["statement"] in wanted] == wanted
    assert len({(entry["file_id"], entry["position"]) for entry in found}) == len(found)
    assert len({entry["file_id"] for entry in found}) >= 4


def current(connection: psycopg.Connection) -> str:
    (name,) = connection.execute("select pg_current_logfile('csvlog')").fetchone() or ("",)
    return str(name)
