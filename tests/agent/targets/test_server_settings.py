"""Promises of how a server is set up: its settings as they are, without a secret; its roles; its extensions."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime

import psycopg
import pytest

from contracts.batch import Mode, Status
from contracts.document import DatabaseSettings, Document
from contracts.metrics import EXTENSION, ROLE, SETTING
from infra.standalone.embedded import EmbeddedPostgres
from tests.agent.polling import until
from tests.agent.targets.views import major, value_of
from tests.agent.targets.watching import Watched, databases, rows_of, truth, watched
from tests.servers import NewServer

SECRET = "s3cretWord"

#: What session.sql sets, and the server has otherwise.
OF_THE_SESSION = {
    "application_name", "client_encoding", "DateStyle", "TimeZone", "default_transaction_read_only",
    "idle_in_transaction_session_timeout", "jit", "lock_timeout", "max_parallel_workers_per_gather", "plan_cache_mode",
    "search_path", "statement_timeout",
}  # fmt: skip

OF_AN_EXTENSION = "basebackup_to_shell.command"

#: Settings of the server itself that may hold a secret.
COMMANDS = (
    "archive_cleanup_command", "archive_command", "primary_conninfo", "recovery_end_command", "restore_command",
    "ssl_passphrase_command",
)  # fmt: skip


@pytest.fixture(scope="module")
def own(new_server: NewServer) -> Iterator[EmbeddedPostgres]:
    """A server with settings and roles of this module's own, and secrets in some of them."""
    with new_server() as server:
        with psycopg.connect(server.dsn(), autocommit=True) as admin:
            names = [*COMMANDS]
            if major(admin) >= 15:  # the first with a module of its own whose setting is a text
                names += [OF_AN_EXTENSION]
                admin.execute("load 'basebackup_to_shell'")
                admin.execute("alter system set session_preload_libraries = 'basebackup_to_shell'")
            for name in names:
                value = f"host=primary password={SECRET}" if name.endswith("conninfo") else f"fetch --key {SECRET}"
                admin.execute(f"alter system set {name} = '{value}'".encode())
            admin.execute("select pg_reload_conf()")
            admin.execute("create role plain login")
            query = "select count(*) from pg_settings where reset_val like %s"
            until(lambda: admin.execute(query, (f"%{SECRET}%",)).fetchone() == (len(names),))
        yield server


@pytest.fixture
def admin(own: EmbeddedPostgres) -> Iterator[psycopg.Connection]:
    with psycopg.connect(own.dsn(), autocommit=True) as connection:
        yield connection


@pytest.fixture
def watching(own: EmbeddedPostgres) -> Iterator[Watched]:
    with watched(own.dsn()) as one:
        yield one


def test_settings_are_the_servers_and_not_those_of_the_agents_session(
    admin: psycopg.Connection, watching: Watched
) -> None:
    found = rows_of(watching.frame(SETTING))
    expected = truth(
        admin,
        "select name, setting, reset_val, unit, context, source, sourcefile, pending_restart, "
        "reset_val is not distinct from boot_val as is_default from pg_settings",
    )
    of_transactions = {"transaction_deferrable", "transaction_isolation", "transaction_read_only"}
    assert set(found) == set(expected) - of_transactions
    for name, row in found.items():
        true = expected[name]
        assert row["source"] == (None if name in OF_THE_SESSION else true["source"])
        assert row["value"] == (None if row["is_withheld"] else true["setting"]), name
        assert row["is_set"] == bool(true["reset_val"]), name
        for column in ("unit", "context", "pending_restart", "is_default"):
            assert row[column] == true[column], (name, column)
        if name not in OF_THE_SESSION:
            assert row["sourcefile"] == true["sourcefile"]


def test_no_secret_travels_and_whether_there_is_one_does(admin: psycopg.Connection, watching: Watched) -> None:
    frame = watching.frame(SETTING)
    assert SECRET not in frame.model_dump_json()
    found = rows_of(frame)
    withheld = {name for name, row in found.items() if row["is_withheld"]}
    assert withheld >= {*COMMANDS} | ({OF_AN_EXTENSION} if major(admin) >= 15 else set())
    assert all(found[name]["is_set"] for name in COMMANDS)
    assert all(found[name]["value"] is None for name in withheld)
    # No setting of the server itself is withheld that is not a command or a connection string.
    assert {name for name in withheld if "." not in name} == set(COMMANDS)


def test_a_changed_setting_travels_alone_and_says_if_it_needs_a_restart(
    admin: psycopg.Connection, watching: Watched
) -> None:
    watching.frame(SETTING)
    admin.execute("alter system set work_mem = '7MB'")
    admin.execute("alter system set max_connections = 123")
    admin.execute("select pg_reload_conf()")
    try:
        found = {}
        frames = []

        def both() -> bool:
            frames.append(watching.frame(SETTING))
            found.update(rows_of(frames[-1]))
            return {"work_mem", "max_connections"} <= set(found)

        until(both)
        assert {frame.mode for frame in frames} == {Mode.CHANGED}
        # `pending_restart` may move others, too: nothing else does here.
        assert set(found) == {"work_mem", "max_connections"}
        memory = found["work_mem"]
        assert (memory["value"], memory["unit"], memory["is_default"]) == ("7168", "kB", False)
        assert (memory["source"], memory["sourcefile"].endswith("postgresql.auto.conf")) == ("configuration file", True)
        assert found["max_connections"]["pending_restart"]
        assert found["max_connections"]["value"] != "123"
    finally:
        admin.execute("alter system reset work_mem")
        admin.execute("alter system reset max_connections")
        admin.execute("select pg_reload_conf()")


def test_a_role_without_rights_sees_the_settings_that_are_open_to_all(own: EmbeddedPostgres, watching: Watched) -> None:
    every = rows_of(watching.frame(SETTING))
    with watched(own.dsn(user="plain")) as humble:
        seen = rows_of(humble.frame(SETTING))
    assert {"primary_conninfo", "data_directory"} <= set(every) - set(seen)
    assert seen["shared_buffers"]["value"] == every["shared_buffers"]["value"]
    assert not any(row["sourcefile"] for row in seen.values())


def test_roles_are_what_they_may_do(admin: psycopg.Connection, watching: Watched) -> None:
    for statement in (
        f"create role owning nologin createdb createrole password '{SECRET}'",
        "create role monitoring login in role pg_monitor valid until '2031-05-06 07:08:09+00' connection limit 3",
        "create role beyond login in role monitoring replication bypassrls",
        "create role aloof login noinherit",
    ):
        admin.execute(statement.encode())
    frame = watching.frame(ROLE)
    assert SECRET not in frame.model_dump_json()
    assert "SCRAM" not in frame.model_dump_json()
    found = {row["rolname"]: row for row in rows_of(frame).values()}
    expected = truth(
        admin,
        "select rolname, oid::int8 as roleid, rolsuper as is_superuser, rolinherit as inherits, rolcreaterole as "
        "creates_roles, rolcreatedb as creates_databases, rolcanlogin as can_login, rolreplication as can_replicate, "
        "rolbypassrls as bypasses_rls, rolconnlimit as connection_limit from pg_roles",
    )
    assert {name: {key: row[key] for key in expected[name]} for name, row in found.items()} == expected
    for name in ("monitoring", "beyond"):
        for predefined in ("pg_monitor", "pg_read_all_stats", "pg_read_all_settings", "pg_stat_scan_tables"):
            assert found[name][f"has_{predefined}"], (name, predefined)
    assert not any(value for key, value in found["owning"].items() if key.startswith("has_"))
    assert found["monitoring"]["valid_until_at"] == value_of(datetime(2031, 5, 6, 7, 8, 9, tzinfo=UTC))
    assert found["owning"]["valid_until_at"] is None
    if major(admin) >= 16:
        admin.execute("grant pg_use_reserved_connections to aloof")
        changed = rows_of(watching.frame(ROLE))
        # It has the privilege only once it takes on the role: it does not inherit.
        assert not any(row["has_pg_use_reserved_connections"] for row in changed.values())
        admin.execute("grant pg_use_reserved_connections to monitoring with inherit true")
        changed = {row["rolname"]: row for row in rows_of(watching.frame(ROLE)).values()}
        assert set(changed) == {"monitoring", "beyond"}
        assert all(row["has_pg_use_reserved_connections"] for row in changed.values())
    else:
        assert {row["has_pg_use_reserved_connections"] for row in found.values()} == {None}


def test_extensions_have_the_version_they_have_and_the_one_they_could_have(own: EmbeddedPostgres) -> None:
    with databases(own, "extended", "bare") as (name, bare), watched(own.dsn()) as watching:
        watching.target.apply(Document(databases=DatabaseSettings(include=(name, bare))))
        with psycopg.connect(own.dsn(name), autocommit=True) as connection:
            connection.execute('create schema "of extensions"')
            older, newest = "1.9", ""
            for (newest,) in connection.execute(
                "select default_version from pg_available_extensions where name = 'pg_stat_statements'"
            ):
                older = "1.8" if newest == "1.9" else "1.9"
            connection.execute(
                f"create extension pg_stat_statements schema \"of extensions\" version '{older}'".encode()
            )
        contents = watching.collect(EXTENSION)
        assert {run.status for run in contents.runs} == {Status.OK}
        by_names = sorted((rows_of(frame) for frame in contents.frames), key=len)
        assert [set(rows) for rows in by_names] == [{"plpgsql"}, {"plpgsql", "pg_stat_statements"}]
        assert by_names[1]["pg_stat_statements"] == {
            "extname": "pg_stat_statements",
            "extversion": older,
            "default_version": newest,
            "schema_name": "of extensions",
            "owner": "postgres",
        }
