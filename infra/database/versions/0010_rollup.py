"""Hourly rollups, and which hours are due."""

from infra.database.script import execute

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    execute("0010_rollup.sql")
