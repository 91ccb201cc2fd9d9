"""The certificate for the agent's key: asked for to enrol and to renew, and looked at before it is kept."""

from __future__ import annotations

import urllib3
from pydantic import ValidationError

from agent.identity.files import Files, Identity, IdentityError
from agent.identity.signing import Key, UnusableError
from contracts.codec import explain
from contracts.identity import CertificateAsked, Enrolled

_SERVER = "see the server's log"


def own_key(files: Files) -> Key:
    """The agent's private key.

    Raises:
        IdentityError: it cannot be read, others can read it, or it is none.
    """
    try:
        return Key(files.key())
    except UnusableError as error:
        raise IdentityError(f"{files.key_file}: {error}", files.mend) from None


def request(key: Key, agent_id: str) -> bytes:
    """What the server is asked for a certificate with."""
    return CertificateAsked(csr=key.request(agent_id)).model_dump_json().encode()


def keep(answer: urllib3.BaseHTTPResponse, files: Files, key: Key, agent_id: str, server: str) -> Identity:
    """Have the server's certificate from here on, if it is for this key and this name.

    Raises:
        IdentityError: the answer has none, or it cannot be kept; what was there before still is.
    """
    try:
        enrolled = Enrolled.model_validate_json(answer.data)
        ours = key.belongs_to(enrolled.certificate.encode())
    except ValidationError as error:
        raise IdentityError(f"{server}: the answer has no certificate in it: {explain(error)}", _SERVER) from None
    except UnusableError as error:
        raise IdentityError(f"{server}: the answer's certificate: {error}", _SERVER) from None
    if not ours or enrolled.agent_id != agent_id:
        raise IdentityError(f"{server}: the answer's certificate is another agent's", _SERVER)
    identity = Identity(agent_id=agent_id, server=server, audience=enrolled.audience, not_after=enrolled.not_after)
    try:
        files.keep(identity, enrolled.certificate, enrolled.authority)
    except OSError as error:
        raise IdentityError(f"{files.folder}: {error.strerror}", "make room, and say it again") from error
    return identity
