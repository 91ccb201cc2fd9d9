"""`pganalytics migrate`: brings the store's schema to the newest version."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from cli.dsn import DsnFile, store_dsn
from cli.ending import fail


def migrate(
    store_dsn_file: DsnFile = None,
    *,
    sql: Annotated[bool, typer.Option("--sql", help="Print the statements of all migrations; change nothing.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Bring the store's schema to the newest version. Doing so again changes nothing."""
    from infra.database import migrate as migrations  # Alembic takes a while to import
    from infra.standalone.schema import MigrationError, migrate_store

    if sql:
        typer.echo(migrations.sql(), nl=False)
        return
    try:
        before, after = migrate_store(store_dsn(store_dsn_file))
    except MigrationError as error:
        fail(str(error), code=1)
    if as_json:
        typer.echo(json.dumps({"before": before, "after": after}))
    elif before == after:
        typer.echo(f"the store is at {after} already")
    else:
        typer.echo(f"the store was at {before or 'no version'} and is at {after} now")
