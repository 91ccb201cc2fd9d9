"""The places of batches that are in quarantine, beside those of the ledger."""

from infra.database.script import execute

revision = "0010"
down_revision = "0008"


def upgrade() -> None:
    execute("0010_place.sql")
