"""Metrics: sizes, ages and what holds the horizon."""

from infra.database.script import execute

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    execute("0003_headroom.sql")
