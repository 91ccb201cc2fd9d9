"""The store: ledger, targets, runs, the first metrics and their deltas."""

from infra.database.script import execute

revision = "0001"
down_revision = None


def upgrade() -> None:
    execute("0001_store.sql")
