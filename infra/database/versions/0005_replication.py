"""Metrics: replication from both ends."""

from infra.database.script import execute

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    execute("0005_replication.sql")
