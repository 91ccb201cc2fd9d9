"""Metrics: the agent itself."""

from infra.database.script import execute

revision = "0008"
down_revision = "0007"


def upgrade() -> None:
    execute("0008_agent.sql")
