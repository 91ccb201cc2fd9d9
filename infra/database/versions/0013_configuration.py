"""Configuration in scopes, what each agent is to obey, and releases in stages."""

from infra.database.script import execute

revision = "0013"
down_revision = "0012"


def upgrade() -> None:
    execute("0013_configuration.sql")
