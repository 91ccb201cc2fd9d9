"""How the agent speaks to PostgreSQL; nothing else in it imports the driver."""
