"""Straight into the bucket, with the host's own AWS credentials.

boto3 finds the credentials and signs; the request itself goes the same way as with addresses that the server signs,
as botocore has no setting for the least version of TLS. This module is imported by agents that use it and no others.
"""

from __future__ import annotations

import logging

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from agent.settings import SettingsError, UploadSettings
from agent.transports.objects import Objects, Signed
from agent.transports.outcome import Later, Outcome, Upload
from contracts.codec import sha256
from contracts.objects import agent_prefix, key_at
from contracts.uploads import put_headers

# As far as clocks may differ with S3.
_GOOD_FOR_SECONDS = 900


class S3Transport:
    """Signs with the ambient credentials: environment, shared files, container or instance role."""

    def __init__(self, settings: UploadSettings, agent_id: str) -> None:
        """Raises SettingsError where the settings are of no use."""
        self._agent_id = agent_id
        self._bucket = settings.bucket
        self._objects = Objects(
            settings.ca_file,
            {
                "AccessDenied": f"allow s3:PutObject on arn:aws:s3:::{settings.bucket}/{agent_prefix(agent_id)}*",
                "AuthorizationHeaderMalformed": "set upload.region to the bucket's",
                "NoSuchBucket": "upload.bucket is to name one that is there",
                "PermanentRedirect": "set upload.region to the bucket's",
            },
        )
        # It would log what it signs.
        logging.getLogger("botocore.auth").setLevel(logging.INFO)
        config = Config(signature_version="s3v4", s3={"addressing_style": "path" if settings.endpoint_url else "auto"})
        try:
            self._client = boto3.Session().client(
                "s3", region_name=settings.region, endpoint_url=settings.endpoint_url, config=config
            )
        except (BotoCoreError, ValueError) as error:  # a profile that is not there, say
            raise SettingsError(f"upload: boto3 cannot use this host's AWS settings: {error}") from error

    @property
    def skew_us(self) -> int | None:
        return self._objects.skew_us

    def send(self, upload: Upload) -> Outcome:
        """Put one batch into the bucket."""
        signed = self.sign(upload)
        return signed if isinstance(signed, Later) else self._objects.put(signed, upload.data)

    def sign(self, upload: Upload) -> Signed | Later:
        """The address that makes this one object, or what keeps it from being signed."""
        digest = sha256(upload.data)
        headers = put_headers(digest, len(upload.data))
        try:
            url = self._client.generate_presigned_url(
                "put_object",
                Params={
                    "Bucket": self._bucket,
                    "Key": str(key_at(self._agent_id, upload.stream_id, upload.seq, upload.sent_at, digest)),
                    "ContentLength": len(upload.data),
                    "ContentType": headers["Content-Type"],
                    "IfNoneMatch": headers["If-None-Match"],
                    "ChecksumSHA256": headers["x-amz-checksum-sha256"],
                },
                ExpiresIn=_GOOD_FOR_SECONDS,
            )
        except (BotoCoreError, ClientError) as error:
            mend = "give this host a role, or the agent's account AWS credentials"
            return Later(f"no credentials for the bucket ({type(error).__name__}): {mend}", answered=False)
        return Signed(url, headers)
