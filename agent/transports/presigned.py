"""Into the bucket at addresses that the server signs: large bodies stay off the server, AWS's packages off the host."""

from __future__ import annotations

from pydantic import ValidationError

from agent.settings import UploadSettings
from agent.transports.http import ServerClient
from agent.transports.objects import Objects, Signed
from agent.transports.outcome import Later, Outcome, Rejected, Upload
from contracts.codec import sha256
from contracts.uploads import UploadAsked, UploadGranted

#: The server looked at what is to be uploaded, and will never sign for it.
_REFUSED = {413, 422}


class PresignedTransport:
    """Asks the server, and puts. An address serves one attempt: the next one gets a new one."""

    def __init__(self, settings: UploadSettings, server: ServerClient) -> None:
        """Raises SettingsError where the certificate authorities' file is of no use."""
        self._server = server
        self._objects = Objects(settings.ca_file, {})

    @property
    def skew_us(self) -> int | None:
        return self._server.skew_us

    def send(self, upload: Upload) -> Outcome:
        """Put one batch into the bucket."""
        signed = self.sign(upload)
        return self._objects.put(signed, upload.data) if isinstance(signed, Signed) else signed

    def sign(self, upload: Upload) -> Signed | Rejected | Later:
        """The address that makes this one object, or what the server says instead."""
        asked = UploadAsked(
            stream_id=upload.stream_id,
            seq=upload.seq,
            sent_at=upload.sent_at,
            sha256=sha256(upload.data),
            size_bytes=len(upload.data),
        )
        answer = self._server.post("/v1/uploads", "application/json", asked.model_dump_json().encode())
        if isinstance(answer, Later):
            return answer
        if answer.status != 201:
            return self._server.not_taken(answer, _REFUSED)
        try:
            granted = UploadGranted.model_validate_json(answer.data)
        except ValidationError as error:
            return Later(f"the server's answer has no signed address in it ({error.error_count()} errors)")
        return Signed(granted.url, granted.headers)
