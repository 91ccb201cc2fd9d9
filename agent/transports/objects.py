"""Puts a batch into a bucket at an address that is signed for it. The address is a secret: nothing repeats it."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol, runtime_checkable
from urllib.parse import urlsplit

import urllib3
from urllib3.exceptions import HTTPError

from agent.settings import in_the_clear
from agent.transports.connection import USER_AGENT, Skew, pool, retry_after
from agent.transports.outcome import Delivered, Later, Outcome, Rejected, Upload

_CODE = re.compile(rb"<Code>(\w{1,64})</Code>")

_CLOCK = "set this host's clock"
_CREDENTIALS = "renew the credentials"
_REGION = "the bucket is in another region"

#: What mends an error of S3's, unless whoever signs knows better.
_MENDS = {
    "AccessDenied": "the address has expired, or the signer may not put this object",
    "AuthorizationHeaderMalformed": _REGION,
    "BadDigest": "it was changed on the way",
    "ConditionalRequestConflict": "another writer is making the same object just now",
    "ExpiredToken": _CREDENTIALS,
    "InvalidAccessKeyId": _CREDENTIALS,
    "NoSuchBucket": "there is no such bucket",
    "PermanentRedirect": _REGION,
    "RequestTimeTooSkewed": _CLOCK,
    "SignatureDoesNotMatch": _CREDENTIALS,
}


@dataclass(frozen=True, slots=True)
class Signed:
    """An address and the headers that its signature covers."""

    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


@runtime_checkable
class Signer(Protocol):
    """Gives the address for one batch, or says what keeps it from being given."""

    def sign(self, upload: Upload) -> Signed | Rejected | Later:
        """Nothing is made in the bucket by this."""


class Objects:
    """The way to the bucket, with no credentials of its own. `mends` are those that the signer knows better."""

    def __init__(self, ca_file: Path | None, mends: Mapping[str, str]) -> None:
        """Raises SettingsError where the certificate authorities' file is of no use."""
        self._mends = {**_MENDS, **mends}
        self._skew = Skew()
        self._pool = pool(ca_file, "upload.ca_file")
        # It would log the path of each request, signature and all.
        logging.getLogger("urllib3.connectionpool").setLevel(logging.INFO)

    @property
    def skew_us(self) -> int | None:
        return self._skew.us

    def put(self, signed: Signed, data: bytes) -> Outcome:
        """Make the object, unless it is there."""
        try:
            where = urlsplit(signed.url).netloc.rpartition("@")[2]
            if in_the_clear(signed.url):
                return Later(f"{where}: a signed address is only used over https://", answered=False)
            answer = self._pool.request(
                "PUT",
                signed.url,
                headers={"User-Agent": USER_AGENT} | dict(signed.headers),
                body=data,
                redirect=False,  # what is signed is signed for this host
            )
        except HTTPError as error:
            return Later(f"{where}: {_why(error)}", answered=False)
        except ValueError as error:  # http.client's of a header, and urlsplit's: their texts have what they refuse
            return Later(f"a signed address that cannot be used ({type(error).__name__})", answered=False)
        self._skew.compare(answer)
        return self._outcome(where, answer)

    def _outcome(self, where: str, answer: urllib3.BaseHTTPResponse) -> Outcome:
        found = _CODE.search(answer.data)
        code = found[1].decode() if found else ""
        # Without these signs it is not the bucket that answers, but something in between.
        if answer.status == 200 and "ETag" in answer.headers:
            return Delivered()
        if answer.status == 412 and code == "PreconditionFailed":
            return Delivered(already=True)
        if code == "EntityTooLarge":
            return Rejected(answer.status, f"{where}: {code}")
        mend = f": {self._mends[code]}" if code in self._mends else ""
        return Later(f"{where} answered {answer.status} {code or answer.reason}{mend}", retry_after(answer))


def _why(error: HTTPError) -> str:
    """What a failure says of the operating system; its own text may have the address in it."""
    causes = [each for each in (error.__cause__, *error.args) if isinstance(each, OSError) and each.strerror]
    return f"{type(error).__name__}: {causes[0].strerror}" if causes else type(error).__name__
