"""The places of batches that are in quarantine, beside those of the ledger."""

from infra.database.script import execute

revision = "0011"
down_revision = "0010"


def upgrade() -> None:
    execute("0011_place.sql")
