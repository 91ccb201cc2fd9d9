"""Metrics: the parts of a server and its settings."""

from infra.database.script import execute

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    execute("0002_server.sql")
