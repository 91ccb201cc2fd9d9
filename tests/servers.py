"""Servers to watch: of the version that the run asks for (`pytest --postgresql=DIR`)."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from infra.standalone.embedded import THROWAWAY, EmbeddedPostgres


class NewServer(Protocol):
    """Starts a server of the test's own, which is gone at the end of the block."""

    def __call__(self, settings: Mapping[str, str] = THROWAWAY) -> AbstractContextManager[EmbeddedPostgres]: ...
