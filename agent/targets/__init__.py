"""What an agent watches: PostgreSQL servers, the host, and the agent itself."""
