"""The way out that agent.toml asks for."""

from __future__ import annotations

from agent.identity.whoami import whoami
from agent.settings import Settings, SettingsError
from agent.transports.http import ServerClient
from agent.transports.outcome import Transport
from agent.transports.presigned import PresignedTransport


def chosen(settings: Settings, server: ServerClient | None) -> Transport:
    """The transport of these settings; `server` is the one that they name.

    Raises:
        SettingsError: something that it needs is missing; the message names what to mend.
        IdentityError: nothing says who this agent is.
    """
    if settings.upload.transport == "s3":
        try:
            from agent.transports.s3 import S3Transport
        except ImportError as error:
            raise SettingsError(
                f'upload.transport: "s3" needs {error.name}, which is not installed; '
                "install pganalytics[agent,agent-s3]"
            ) from error
        return S3Transport(settings.upload, whoami(settings).agent_id)
    if server is None:
        raise SettingsError("server: where to send is missing; add [server] with url")
    return PresignedTransport(settings.upload, server) if settings.upload.transport == "presigned" else server
