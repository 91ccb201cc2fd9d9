"""What the store knows: agents, targets, metrics."""
