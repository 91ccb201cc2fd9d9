"""Metrics: statements."""

from infra.database.script import execute

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    execute("0006_statements.sql")
