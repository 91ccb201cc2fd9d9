"""`agent.toml`: who this agent is, where it sends, what it watches. What it collects comes from the server."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from contracts.codec import explain
from contracts.names import HOST_TARGET, AgentId, TargetName


class SettingsError(Exception):
    """agent.toml is missing or wrong; the message names the file, the key and what is expected."""


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ServerSettings(_Section):
    """The server's HTTP door, and the file that holds the access token."""

    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+(/\S*)?$")]
    token_file: Path
    ca_file: Path | None = None

    @model_validator(mode="after")
    def _no_token_in_the_clear(self) -> ServerSettings:
        try:
            parts = urlsplit(self.url)
            _ = parts.port
        except ValueError as error:
            raise ValueError(f"url: {error}") from None
        if parts.username is not None or parts.password is not None:
            raise ValueError("url: no user and no password belong here; the token comes from token_file")
        if parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}:
            raise ValueError("url: http:// would send the token in the clear; use https://")
        return self


class SpoolSettings(_Section):
    """How much may wait on this host's disk for the server."""

    max_bytes: Annotated[int, Field(ge=1_000_000)] = 1_000_000_000
    max_age_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 72


class LogSettings(_Section):
    """Where the server's log is, if the agent is to read it."""

    files: Annotated[tuple[str, ...], Field(min_length=1)]

    @field_validator("files")
    @classmethod
    def _absolute(cls, files: tuple[str, ...]) -> tuple[str, ...]:
        for pattern in files:
            if not pattern.startswith("/") or any(mark in str(Path(pattern).parent) for mark in "*?["):
                raise ValueError(f"{pattern}: an absolute path, with patterns in the file's name only, is expected")
        return files


class TargetSettings(_Section):
    """One PostgreSQL server."""

    name: TargetName
    dsn: str = ""
    log: LogSettings | None = None

    @field_validator("name")
    @classmethod
    def _not_the_host(cls, name: str) -> str:
        if name == HOST_TARGET:
            raise ValueError(f"{HOST_TARGET!r} stands for the host itself")
        return name

    @field_validator("dsn")
    @classmethod
    def _readable_and_without_password(cls, dsn: str) -> str:
        try:
            parts = conninfo_to_dict(dsn)
        except ProgrammingError:
            raise ValueError("not a connection string, such as 'host=/var/run/postgresql user=pganalytics'") from None
        if "password" in parts:
            raise ValueError("a password does not belong here; name a file with passfile=")
        return dsn


class HostSettings(_Section):
    """Whether this host is watched, too; off where the agent watches servers from elsewhere."""

    enabled: bool = True


class Settings(_Section):
    """All of agent.toml."""

    agent_id: AgentId
    state_directory: Path = Path("/var/lib/pganalytics-agent")
    server: ServerSettings | None = None
    spool: SpoolSettings = SpoolSettings()
    host: HostSettings = HostSettings()
    targets: tuple[TargetSettings, ...] = ()

    @model_validator(mode="after")
    def _targets_differ(self) -> Settings:
        names = [target.name for target in self.targets]
        twice = {name for name in names if names.count(name) > 1}
        if twice:
            raise ValueError(f"targets: two are named {', '.join(sorted(twice))}")
        if not names and not self.host.enabled:
            raise ValueError("targets: there is nothing to watch; name a target, or set host.enabled = true")
        return self


def load(path: Path) -> Settings:
    """The settings in this file.

    Raises:
        SettingsError: it cannot be read, is not TOML, or a key is missing or wrong.
    """
    try:
        document = tomllib.loads(path.read_text())
    except OSError as error:
        raise SettingsError(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not TOML: {error}") from error
    try:
        return Settings.model_validate(document)
    except ValidationError as error:
        raise SettingsError(f"{path}: {explain(error)}") from error
