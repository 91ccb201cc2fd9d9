"""Follows PostgreSQL's own log, and takes the values out of it."""
