"""What an enrolled agent keeps on its disk, in a folder that nobody but its account may look into.

`key.pem` is made here and never leaves the host. `authority.pem` and `certificate.pem` are what the server answered.
`identity.json` is written last: with it the agent is enrolled, without it an enrolment was interrupted.
"""

from __future__ import annotations

import os
import ssl
import stat
from datetime import datetime
from pathlib import Path

from pydantic import AwareDatetime, BaseModel, ConfigDict, ValidationError

from agent.durable import replace
from contracts.codec import explain
from contracts.names import AgentId

_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class IdentityError(Exception):
    """The agent cannot prove who it is; `problem` names the file, `mend` what to do. Neither shows a key or a token."""

    def __init__(self, problem: str, mend: str) -> None:
        super().__init__(f"{problem}; {mend}")
        self.problem = problem
        self.mend = mend


class Identity(BaseModel):
    """Who an enrolled agent is, as identity.json has it; `not_after` is its certificate's end."""

    model_config = ConfigDict(frozen=True)

    agent_id: AgentId
    server: str
    audience: str
    not_after: AwareDatetime

    def days_left(self, now: datetime) -> float:
        """The certificate's days that are left; less than none where it has expired."""
        return (self.not_after - now).total_seconds() / 86400


class Files:
    """The folder `identity` of the agent's state."""

    def __init__(self, state_directory: Path) -> None:
        self.folder = state_directory / "identity"
        self.key_file = self.folder / "key.pem"
        self.certificate_file = self.folder / "certificate.pem"
        self._authority_file = self.folder / "authority.pem"
        self._identity_file = self.folder / "identity.json"

    def identity(self) -> Identity | None:
        """Who this agent is; None where it is not enrolled.

        Raises:
            IdentityError: it cannot be read, or is damaged.
        """
        try:
            return Identity.model_validate_json(self._identity_file.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except OSError as error:
            raise self._unreadable(self._identity_file, error) from error
        except ValidationError as error:
            raise IdentityError(f"{self._identity_file}: {explain(error)}", self.mend) from None

    def key(self) -> bytes:
        """The private key, PEM.

        Raises:
            IdentityError: it is not there, cannot be read, or others than its owner can.
        """
        try:
            with self.key_file.open("rb") as file:
                if os.fstat(file.fileno()).st_mode & _OTHERS:
                    raise IdentityError(
                        f"{self.key_file}: others than its owner can read or write it",
                        f"chmod 600 it; if anybody may have read it, {self.mend}",
                    )
                return file.read()
        except OSError as error:
            raise self._unreadable(self.key_file, error) from error

    def has_key(self) -> bool:
        return os.path.lexists(self.key_file)

    def certificate(self) -> bytes:
        """The certificate, PEM.

        Raises:
            IdentityError: it cannot be read.
        """
        try:
            return self.certificate_file.read_bytes()
        except OSError as error:
            raise self._unreadable(self.certificate_file, error) from error

    def show_in(self, context: ssl.SSLContext) -> None:
        """Let connections of this context show the certificate to a server that asks for one.

        Raises:
            IdentityError: it cannot be read, or key and certificate do not belong together.
        """
        self.key()  # nothing is done with a key that others can read
        try:
            context.load_cert_chain(self.certificate_file, self.key_file)
        except OSError as error:  # an SSLError, too
            raise self._unreadable(self.certificate_file, error) from error

    def keep_key(self, pem: bytes) -> None:
        """Raises OSError where there is no room for it."""
        replace(self.key_file, pem)

    def keep(self, identity: Identity, certificate: str, authority: str) -> None:
        """From here on the agent is this one. After a crash on the way the old certificate or the new one is there.

        Raises:
            OSError: there is no room for it.
        """
        replace(self._authority_file, authority.encode())
        replace(self.certificate_file, certificate.encode())
        replace(self._identity_file, identity.model_dump_json(indent=2).encode() + b"\n")

    @property
    def mend(self) -> str:
        """What helps where the identity is lost, revoked or in wrong hands."""
        return f"remove {self.folder} and enrol with a token that is made for this agent"

    def _unreadable(self, path: Path, error: OSError) -> IdentityError:
        mend = "say this as the agent's account" if isinstance(error, PermissionError) else self.mend
        return IdentityError(f"{path}: {error.strerror or error}", mend)
