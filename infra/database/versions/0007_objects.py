"""Metrics: sizes, sequences, functions and bloat."""

from infra.database.script import execute

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    execute("0007_objects.sql")
