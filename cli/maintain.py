"""`pganalytics maintain`: does a task of the store's maintenance now, as the schedule would."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Annotated

import typer

from cli.dsn import DsnFile, store_dsn
from cli.ending import FAILED, fail


def maintain(
    task: Annotated[str, typer.Argument(help="partitions, rollup, expire, configuration or fleet.")],
    store_dsn_file: DsnFile = None,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Answer as JSON.")] = False,
) -> None:
    """Do a task of the store's maintenance now. Doing so again, or at the same time as the schedule, hurts nothing.

    Its settings are those of the server: PGANALYTICS_KEEP_DAYS and the like.
    """
    from functions.environment import EnvironmentVariableError, read
    from functions.maintenance.tasks import TaskEnvironment, UnknownTaskError, do
    from functions.store import Store, StoreUnavailableError

    store = Store(store_dsn(store_dsn_file), "pganalytics maintain")
    try:
        done = do(task, store, read(TaskEnvironment), datetime.now(UTC), lambda: float("inf"))
    except (UnknownTaskError, EnvironmentVariableError) as error:
        fail(str(error))
    except StoreUnavailableError as error:
        fail(str(error), code=FAILED)
    finally:
        store.close()
    if as_json:
        typer.echo(json.dumps(done))
    elif done.get("running"):
        typer.echo(f"{task}: is being done already")
    else:
        typer.echo(f"{task}: {', '.join(f'{name} {_told(what)}' for name, what in done.items() if name != 'task')}")
    if failed := done.get("failed"):
        reasons = "; ".join(f"{target}: {reason}" for target, reason in failed.items())
        fail(f"targets that could not be rolled up: {reasons}", FAILED)


def _told(what: object) -> str:
    return str(len(what)) if isinstance(what, list | dict) else str(what)
