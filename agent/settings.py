"""`agent.toml`: who this agent is, where it sends, what it watches. What it collects comes from the server."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from contracts.codec import explain
from contracts.names import HOST_TARGET, AgentId, TargetName


class SettingsError(Exception):
    """agent.toml is missing or wrong; the message names the file, the key and what is expected."""


def in_the_clear(url: str) -> bool:
    """Whether what is sent there could be read on the way. Raises ValueError where the URL is none."""
    parts = urlsplit(url)
    _ = parts.port  # a ValueError if it is none
    return parts.scheme != "https" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class ServerSettings(_Section):
    """The server's HTTP door, and the file that holds the access token of an agent that is not enrolled."""

    url: Annotated[str, Field(pattern=r"^https?://[^/\s]+(/\S*)?$")]
    """Address of the server; http:// on this host only."""
    token_file: Path | None = None
    """File that holds the access token, read anew for each request; null: an enrolled agent gets its own."""
    ca_file: Path | None = None
    """Certificates (PEM) that the server's must come from; null: those of the system."""

    @model_validator(mode="after")
    def _no_token_in_the_clear(self) -> ServerSettings:
        try:
            parts, clear = urlsplit(self.url), in_the_clear(self.url)
        except ValueError as error:
            raise ValueError(f"url: {error}") from None
        if parts.username is not None or parts.password is not None:
            raise ValueError("url: no user and no password belong here; the agent has its access token")
        if clear:
            raise ValueError("url: http:// would send the token in the clear; use https://")
        return self


class UploadSettings(_Section):
    """The way of batches into the bucket; credentials of AWS come from the environment, the host or its role."""

    transport: Literal["http", "presigned", "s3"] = "http"
    """Through the server, into the bucket at addresses that the server signs, or with AWS credentials of the host."""
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")] | None = None
    """The bucket's name; for `s3` alone."""
    region: Annotated[str, Field(pattern=r"^[a-z0-9-]{1,40}$")] | None = None
    """The bucket's region; for `s3` alone, null: that of the environment."""
    endpoint_url: Annotated[str, Field(pattern=r"^https?://[^/\s?#@]+/?$")] | None = None
    """Address of a store that speaks S3, http:// on this host only; for `s3` alone, null: AWS."""
    ca_file: Path | None = None
    """Certificates (PEM) that the bucket's must come from, unless by `http`; null: those of the system."""

    @field_validator("endpoint_url")
    @classmethod
    def _not_in_the_clear(cls, url: str | None) -> str | None:
        if url is not None and in_the_clear(url):
            raise ValueError("http:// would send batches in the clear; use https://")
        return url

    @model_validator(mode="after")
    def _what_belongs_to_the_transport(self) -> UploadSettings:
        if self.transport == "s3" and self.bucket is None:
            raise ValueError('bucket: transport = "s3" needs the name of the bucket')
        for name in ("bucket", "region", "endpoint_url"):
            if self.transport != "s3" and getattr(self, name) is not None:
                raise ValueError(f'{name}: belongs to transport = "s3"; it is "{self.transport}"')
        if self.transport == "http" and self.ca_file is not None:
            raise ValueError('ca_file: transport = "http" goes to the server; set server.ca_file')
        return self


class SpoolSettings(_Section):
    """How much may wait on this host's disk for the server."""

    max_bytes: Annotated[int, Field(ge=1_000_000)] = 1_000_000_000
    """Bytes that may wait; beyond that the oldest data is dropped."""
    max_age_hours: Annotated[float, Field(gt=0, le=24 * 365)] = 72
    """What has waited longer is dropped."""


class LogSettings(_Section):
    """Where the server's log is, if the agent is to read it."""

    files: Annotated[tuple[str, ...], Field(min_length=1)]
    """Absolute paths, with patterns (`*`, `?`, `[`) in the file's name only."""

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
    """What this server goes by; `host` stands for the host itself."""
    dsn: str = ""
    """libpq's connection string, without a password."""
    log: LogSettings | None = None
    """The server's log; null: it is not read."""

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
    """Whether the host's metrics are collected; the agent's own always are."""


class Settings(_Section):
    """All of agent.toml."""

    agent_id: AgentId | None = None
    """What this agent goes by, no other agent may have the same; null: what it is enrolled as."""
    state_directory: Path = Path("/var/lib/pganalytics-agent")
    """Folder of the spool, of the last configuration, and of the key and certificate of an enrolled agent."""
    server: ServerSettings | None = None
    upload: UploadSettings = UploadSettings()
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

    @model_validator(mode="after")
    def _somebody_signs(self) -> Settings:
        if self.upload.transport == "presigned" and self.server is None:
            raise ValueError('upload.transport: "presigned" asks the server for addresses; add [server] with url')
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
