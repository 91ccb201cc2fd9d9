"""Runs a migration's plain SQL, or prints it where alembic was asked for SQL only."""

from pathlib import Path

from alembic import context, op
from sqlalchemy import text


def execute(name: str) -> None:
    """Execute the statements of one file in `versions/`, in the migration's transaction."""
    script = (Path(__file__).parent / "versions" / name).read_text()
    if context.is_offline_mode():
        op.execute(text(script.replace(":", "\\:")))
        return
    # Given to the driver as it is: without parameters it takes many statements at once, and leaves `%` alone.
    connection = op.get_bind().connection.driver_connection
    if connection is None:
        raise RuntimeError("the migration has no connection")
    connection.execute(script)
