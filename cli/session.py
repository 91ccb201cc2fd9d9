"""The session that `pganalytics login` began: one file of this account's own, that every command may use at once.

Of a session only the newest refresh token is good, and only once. So whoever refreshes holds a lock, reads the file
anew beneath it, and writes what came before letting go.
"""

from __future__ import annotations

import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

from pydantic import BaseModel, ConfigDict, SecretStr, ValidationError, field_serializer

from cli.api import Api, ApiError, ApiSettingsError
from contracts.identity import SessionGranted

#: An access token is renewed when it is good for less than this.
AHEAD_SECONDS = 60.0


class Session(BaseModel):
    """What the file has. `expires` is the access token's end, in seconds since 1970 by the clock of this machine."""

    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    server: str
    ca: Path | None
    refresh: SecretStr
    access: SecretStr
    expires: float

    @field_serializer("refresh", "access", when_used="json")
    def _in_the_file(self, secret: SecretStr) -> str:
        return secret.get_secret_value()

    @classmethod
    def granted(cls, server: str, ca: Path | None, answer: SessionGranted) -> Session:
        """What is kept of an answer to a login or a refresh that came just now."""
        return cls(
            server=server,
            ca=ca,
            refresh=SecretStr(answer.refresh_token),
            access=SecretStr(answer.access_token),
            expires=time.time() + answer.expires_in,
        )


@dataclass(frozen=True)
class SessionFile:
    """The file of the session, and the lock beside it."""

    path: Path

    @classmethod
    def of_this_account(cls) -> SessionFile:
        """In the folder where programs keep their state (XDG Base Directory Specification)."""
        told = os.environ.get("XDG_STATE_HOME", "")
        # The specification: a path that is not absolute is to be ignored.
        state = Path(told) if Path(told).is_absolute() else Path.home() / ".local" / "state"
        return cls(state / "pganalytics" / "session.json")

    def read(self) -> Session | None:
        """The session; None: nobody is logged in.

        Raises:
            ApiSettingsError: the file is no session, or others than this account can read it.
        """
        try:
            mode = self.path.stat().st_mode
            text = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise ApiSettingsError(f"{self.path}: {error.strerror}") from error
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ApiSettingsError(f"{self.path}: others can read it; end that session, then log in again: {_LOG_OUT}")
        try:
            return Session.model_validate_json(text)
        except ValidationError:
            raise ApiSettingsError(f"{self.path}: is no session; remove it and log in again") from None

    def write(self, session: Session) -> None:
        """Put this session into the place of the one before, so that a crash leaves one or the other.

        Raises:
            ApiSettingsError: it cannot be written.
        """
        try:
            self._folder()
            descriptor, name = tempfile.mkstemp(prefix=".session", dir=self.path.parent)  # 0600, whatever the umask
            try:
                with open(descriptor, "w", encoding="utf-8") as file:  # noqa: PTH123 - a descriptor has no path
                    file.write(session.model_dump_json() + "\n")
                    file.flush()
                    os.fsync(descriptor)
                Path(name).rename(self.path)
            except BaseException:
                Path(name).unlink(missing_ok=True)
                raise
        except OSError as error:
            raise ApiSettingsError(f"{self.path}: {error.strerror}") from error

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Alone, among all commands of this account.

        Raises:
            ApiSettingsError: the lock cannot be made.
        """
        try:
            self._folder()
            descriptor = os.open(self.path.with_name("session.lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise ApiSettingsError(f"{self.path}: {error.strerror}") from error
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _folder(self) -> None:
        self.path.parent.parent.mkdir(parents=True, exist_ok=True)
        self.path.parent.mkdir(mode=0o700, exist_ok=True)


_LOG_OUT = "pganalytics logout"


@dataclass(frozen=True)
class Access:
    """Access tokens of the session in a file: the one there, or the next."""

    file: SessionFile

    def token(self) -> str | None:
        """A token that is good for a while yet; None: nobody is logged in.

        Raises:
            ApiError: the session has ended, or the server cannot be reached.
            ApiSettingsError: the file cannot be used.
        """
        session = self.file.read()
        if session is None:
            return None
        if _good(session):
            return session.access.get_secret_value()
        return self.renew(session.access.get_secret_value())

    def renew(self, old: str) -> str:
        """The token after this one, which another command may have fetched by now.

        Raises:
            ApiError: the session has ended, or the server cannot be reached.
            ApiSettingsError: the file cannot be used.
        """
        with self.file.locked():
            session = self.file.read()
            if session is None:
                raise ApiError("the session has ended; log in again: pganalytics login")
            if session.access.get_secret_value() != old and _good(session):
                return session.access.get_secret_value()
            following = self._following(session)
            self.file.write(following)
            return following.access.get_secret_value()

    def _following(self, session: Session) -> Session:
        body = {"refresh_token": session.refresh.get_secret_value()}
        try:
            answer = Api(session.server, None, session.ca).change("POST", "/v1/auth/refresh", body)
        except ApiError as error:
            if error.status != HTTPStatus.UNAUTHORIZED:
                raise
            self.file.remove()
            raise ApiError(f"{error}: pganalytics login --server {session.server}", error.status) from error
        return Session.granted(session.server, session.ca, granted(session.server, answer))


def granted(server: str, answer: object) -> SessionGranted:
    """The answer to a login or a refresh.

    Raises:
        ApiError: it is not one.
    """
    try:
        return SessionGranted.model_validate(answer)
    except ValidationError:
        raise ApiError(f"{server} did not answer with a session; is that its URL?") from None


def _good(session: Session) -> bool:
    return session.expires - time.time() > AHEAD_SECONDS
