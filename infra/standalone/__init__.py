"""The same functions, with the same events, in one process on one machine."""
