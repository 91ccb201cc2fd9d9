"""What one look at a release costs that 2,000 and 10,000 agents were given: it is taken every ten seconds.

All of them were given it ten minutes ago, and send a batch a minute, of a host and a server with 20 collectors each;
the store has that for 20 minutes, and 30 days of partitions. Then what follows from a bad document: one collector in
twenty agents fails, and every collector of all agents at once.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime

import psycopg
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from contracts.configuration import Gates
from functions.config import failures, measured
from functions.config.advance import advance
from functions.config.agents import everyone
from functions.config.paces import agent_cpu, db_time
from functions.store import Connection, Store
from infra.database.migrate import migrate
from infra.standalone.embedded import EmbeddedPostgres, embedded_postgres

FLEETS = (2_000, 10_000)

_ROUNDS, _MINUTES, _COLLECTORS, _DAYS = 5, 20, 20, 30

_FILL = """
    insert into store.document (scope, version, body, sha256, author, comment)
    values ('fleet', 1, '{{}}', 'x', 'ann', ''), ('fleet', 2, '{{}}', 'x', 'ann', '');
    update store.document set activated_at = null where version = 2;
    create table agent as
        select 'db-' || n as id, now() - interval '1 second' * (n % 60) as at from generate_series(1, {agents}) as n;
    insert into store.agent
        select id, at - interval '1 day', at, '0.1.0', 2, '"2-e"', 'applied', null, 0 from agent;
    insert into store.target select hashtextextended(id || name, 0), id, name, at, at
        from agent cross join (values ('host'), ('main')) as names (name);
    insert into store.effective select id, 1, 2, '"2-e"' from agent;
    insert into store.effective_body values ('"2-e"', '{{"version": 2, "document": {{"upload_every_seconds": 60}}}}');
    insert into store.release (scope, from_version, to_version, stages, bake_seconds, gates, state, created_by)
        values ('fleet', 1, 2, '{{100%}}', 86400, '{{}}', 'running', 'ann');
    insert into store.release_agent select 1, id, 0, now() - interval '10 minutes' from agent;
    insert into store.ledger
        select id, gen_random_uuid(), m, 'x', at - interval '1 minute' * m, at - interval '1 minute' * m, 100, 'key'
        from generate_series(0, {minutes} - 1) as m cross join agent;
    insert into metric.agent_health (target_id, collected_at, epoch, cpu_us)
        select hashtextextended(id || 'host', 0), at - interval '1 minute' * m, 7, 600000 * ({minutes} - m)
        from generate_series(0, {minutes} - 1) as m cross join agent;
    insert into metric.agent_target (target_id, collected_at, epoch, target, query_time_us)
        select hashtextextended(id || 'host', 0), at - interval '1 minute' * m, 7, 'main', 60000 * ({minutes} - m)
        from generate_series(0, {minutes} - 1) as m cross join agent;
    insert into store.runs
        select t.target_id, at - interval '1 minute' * m,
            (select array_agg('collector_' || c) from generate_series(1, {collectors}) as c),
            array_fill(null::oid, every), array_fill(at - interval '1 minute' * m, every),
            array_fill(1500::bigint, every), array_fill('ok'::text, every), array_fill(null::text, every),
            array_fill(3::bigint, every), array_fill(null::bigint, every), array_fill(null::text, every)
        from generate_series(0, {minutes} - 1) as m
        cross join agent
        join store.target t on t.agent_id = id
        cross join (values (array[{collectors}])) as a (every);
"""

_FAIL_SOME = """
    update store.runs r
    set status[1] = 'timeout'
    from agent a
    join store.target t on t.agent_id = a.id and t.name = 'main'
    where hashtext(a.id) % 20 = 0 and r.target_id = t.target_id and r.collected_at > now() - interval '10 minutes'
"""

_FAIL_ALL = """
    update store.runs set status = array_fill('error'::text, array[cardinality(status)])
    where collected_at > now() - interval '10 minutes'
"""


def main() -> None:
    console = Console()
    table = Table("agents", "a look", "whom it is for", "runs that failed", "standing", "agent_cpu", "db_time")
    hard = Table("agents", "1 of 20 fails", "everything fails")
    with embedded_postgres() as server:
        for agents in FLEETS:
            name = f"fleet_{agents}"
            with console.status(f"{agents:,} agents"):
                store = _filled(server, name, agents)
                row = _usual(store)
                table.add_row(f"{agents:,}", *(f"{each:,.0f} ms" for each in row))
                hard.add_row(f"{agents:,}", *(f"{_after(store, each):,.0f} ms" for each in (_FAIL_SOME, _FAIL_ALL)))
                store.close()
    console.print(table, "The same look, finding for the first time what has failed:", hard)


def _filled(server: EmbeddedPostgres, name: str, agents: int) -> Store:
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        connection.execute(f"create database {name}".encode())
    migrate(server.dsn(name))
    with psycopg.connect(server.dsn(name), autocommit=True) as connection:
        for day in range(-2, _DAYS):
            connection.execute("select store.make_partitions(current_date - %s::integer)", (day,))
        filling = _FILL.format(agents=agents, minutes=_MINUTES, collectors=_COLLECTORS)
        for statement in filling.split(";\n"):
            if statement.strip():
                connection.execute(statement.encode())
        connection.execute("vacuum (analyze)")
    return Store(SecretStr(server.dsn(name)), "benchmark")


def _usual(store: Store) -> list[float]:
    """Milliseconds of a look, and of its parts."""
    now = datetime.now(UTC)
    with store.transaction() as connection:
        members = [each.agent_id for each in everyone(connection)]

    def within(part: Callable[[Connection], object]) -> float:
        def call() -> None:
            with store.transaction() as connection:
                part(connection)

        return _milliseconds(call)

    return [
        _milliseconds(lambda: advance(store, datetime.now(UTC))),
        within(everyone),
        within(lambda connection: failures.note(connection, 1)),
        within(lambda connection: measured.measure(connection, 1, _NO_PACES, 0, members, now, None)),
        within(lambda connection: agent_cpu(connection, 1, 2.0, now)),
        within(lambda connection: db_time(connection, 1, 2.0, now)),
    ]


_NO_PACES = Gates(agent_cpu=None, db_time=None)


def _milliseconds(call: Callable[[], object]) -> float:
    spent = []
    for _ in range(_ROUNDS):
        begun = time.perf_counter()
        call()
        spent.append((time.perf_counter() - begun) * 1000)
    return statistics.median(spent)


def _after(store: Store, fails: str) -> float:
    """Milliseconds of the look that finds what has failed, of all that was loaded in the last hour."""
    with store.transaction() as connection:
        connection.execute("truncate store.release_failure")
        connection.execute(fails.encode())
        connection.execute("update store.release set state = 'running', read_until_at = now() - interval '1 hour'")
    with store.transaction() as connection:
        connection.execute("analyze store.runs")
    begun = time.perf_counter()
    advance(store, datetime.now(UTC))
    return (time.perf_counter() - begun) * 1000
