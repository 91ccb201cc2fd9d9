"""Who may write, read and change what: agents, enrolment tokens, operators, sessions, and what they did."""

from infra.database.script import execute

revision = "0012"
down_revision = "0011"


def upgrade() -> None:
    execute("0012_identity.sql")
