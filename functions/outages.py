"""What a function tells of the store when it cannot be asked; known also to those that have no store."""

from __future__ import annotations


class StoreUnavailableError(Exception):
    """The store cannot be reached or refused the work for a reason of its own: try again later."""
