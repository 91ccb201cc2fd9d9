"""What an agent watches: the host, and PostgreSQL servers."""
