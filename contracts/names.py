"""The identifiers that agents, targets, streams and operators go by."""

from __future__ import annotations

import hashlib
from typing import Annotated, Literal
from uuid import UUID

from pydantic import AfterValidator, StringConstraints

#: Lower case letters, digits, `-`, `_`, `.`: safe in an object key, a path, a URL and a file name.
NAME_PATTERN = r"^[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?$"

AgentId = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]
TargetName = Annotated[str, StringConstraints(pattern=NAME_PATTERN)]

UserName = Annotated[str, StringConstraints(pattern=r"^[a-z0-9](?:[a-z0-9._@-]{0,62}[a-z0-9])?$")]
RoleName = Literal["viewer", "operator", "admin"]


def _canonical(value: UUID) -> UUID:
    return UUID(int=value.int)


StreamId = Annotated[UUID, AfterValidator(_canonical)]

#: The target that stands for the host itself.
HOST_TARGET = "host"


def target_id(agent_id: str, target: str) -> int:
    """The number that facts carry for a target: 63 bits of the sha-256 of `agent_id/target`.

    Computed, not assigned: whoever loads a batch, in whatever order and into whatever database, finds the same
    number. The store's unique constraint on (agent, name) turns a collision into an error.
    """
    digest = hashlib.sha256(f"{agent_id}/{target}".encode()).digest()
    return int.from_bytes(digest[:8]) >> 1
