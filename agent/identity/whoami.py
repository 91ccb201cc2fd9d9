"""Who an agent is, by its settings and by its enrolment, which must agree."""

from __future__ import annotations

from dataclasses import dataclass

from agent.identity.files import Files, Identity, IdentityError
from agent.settings import Settings

ENROL = "enrol: pganalytics-agent enrol --token-file FILE"


@dataclass(frozen=True, slots=True)
class Who:
    """Its name; where it is enrolled, its identity and the files of it."""

    agent_id: str
    identity: Identity | None = None
    files: Files | None = None


def whoami(settings: Settings) -> Who:
    """Who the agent of these settings is.

    Raises:
        IdentityError: nothing says so, or settings and enrolment say different things.
    """
    files = Files(settings.state_directory)
    identity = files.identity()
    if identity is None:
        if settings.agent_id is None:
            raise IdentityError("agent_id: agent.toml has none, and this host is not enrolled", f"add it, or {ENROL}")
        return Who(settings.agent_id)
    if settings.agent_id not in {None, identity.agent_id}:
        raise IdentityError(
            f"agent_id: agent.toml says {settings.agent_id}, but this host is enrolled as {identity.agent_id}",
            f"take agent_id out of agent.toml, or {files.mend}",
        )
    return Who(identity.agent_id, identity, files)
