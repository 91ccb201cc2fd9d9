"""One query a file, runnable in psql; see `agent.postgres.queries` for how a variant is chosen."""
