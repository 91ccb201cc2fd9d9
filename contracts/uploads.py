"""What an agent asks before it puts a batch into the bucket itself, and the signed address that it is given."""

from __future__ import annotations

import base64
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StringConstraints

from contracts.batch import Instant
from contracts.limits import BIGINT_MAX, MAX_SEQ
from contracts.names import StreamId


class UploadAsked(BaseModel):
    """The place and the content of one batch. Whose it is says the token, and nothing in here."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    stream_id: StreamId
    seq: Annotated[int, Field(strict=True, ge=0, le=MAX_SEQ)]
    sent_at: Instant
    sha256: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{64}$")]
    size_bytes: Annotated[int, Field(strict=True, ge=1, le=BIGINT_MAX)]


class UploadGranted(BaseModel):
    """A signed address: until it expires, PUT with these headers makes this one object, and nothing else."""

    # An agent that is older than the server leaves alone what it does not know.
    model_config = ConfigDict(frozen=True, extra="ignore", hide_input_in_errors=True)

    id: str
    key: str
    url: Annotated[str, Field(repr=False, pattern=r"^https?://[^/\s]+/\S+$")]
    headers: Annotated[dict[str, str], Field(repr=False)]
    expires_at: AwareDatetime


def put_headers(sha256: str, size_bytes: int) -> dict[str, str]:
    """The headers that are signed with an address: it takes this content (`sha256` in hexadecimal), and only once."""
    return {
        "Content-Length": str(size_bytes),
        "Content-Type": "application/gzip",
        "If-None-Match": "*",
        "x-amz-checksum-sha256": base64.b64encode(bytes.fromhex(sha256)).decode(),
    }
