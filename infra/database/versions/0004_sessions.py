"""Metrics: sessions, locks and progress."""

from infra.database.script import execute

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    execute("0004_sessions.sql")
