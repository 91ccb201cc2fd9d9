"""Partitions of some tables alone, and a retention for each."""

from infra.database.script import execute

revision = "0009"
down_revision = "0008"


def upgrade() -> None:
    execute("0009_maintenance.sql")
