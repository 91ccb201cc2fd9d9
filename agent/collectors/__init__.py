"""What the agent can read."""
