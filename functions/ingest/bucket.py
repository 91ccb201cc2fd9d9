"""The bucket, the log of record: S3 or any endpoint that speaks it, or a directory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from functions import sdk

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ALREADY_THERE = {"PreconditionFailed", "412"}
_IN_FLIGHT = {"ConditionalRequestConflict", "409"}
_MISSING = {"NoSuchKey", "404"}

#: How the names of files begin that are no objects yet.
_SCRATCH = ".new-"


class BucketUnavailableError(Exception):
    """The bucket did not do it, for a reason of its own: try again later."""


class ObjectMissingError(Exception):
    """There is no such object."""


@dataclass(frozen=True, slots=True)
class Listed:
    """An object as a listing has it."""

    key: str
    made_at: datetime


class Bucket(Protocol):
    """Where batches lie. Objects are made once and never overwritten."""

    def create(self, key: str, data: bytes) -> bool:
        """Make the object durable; False if it was there before."""

    def read(self, key: str, at_most: int) -> bytes:
        """The object's content, but never more than `at_most` + 1 bytes of it."""

    def objects(self, prefix: str) -> Iterator[Listed]:
        """The objects whose keys begin so, in the order of their keys."""

    def prefixes(self, prefix: str) -> Iterator[str]:
        """The beginnings of keys that go on from this prefix to the next slash, each once and in order."""

    def sign_put(self, key: str, headers: Mapping[str, str], seconds: int) -> str | None:
        """An address that makes this object when it is PUT to with just these headers; None if there are no such."""


class S3Bucket:
    """A bucket of S3, or of an endpoint that speaks it (`AWS_ENDPOINT_URL_S3`), with the ambient credentials."""

    def __init__(self, name: str, client: S3Client | None = None) -> None:
        self._name = name
        self._client: S3Client = client or sdk.client(
            "s3",
            Config(
                signature_version="s3v4",  # an older one would not cover the headers of a signed address
                connect_timeout=3,
                read_timeout=20,
                retries={"mode": "standard", "max_attempts": 3},
            ),
        )

    def create(self, key: str, data: bytes) -> bool:
        try:
            self._client.put_object(
                Bucket=self._name, Key=key, Body=data, ContentType="application/gzip", IfNoneMatch="*"
            )
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _ALREADY_THERE:
                return False
            if code in _IN_FLIGHT:
                raise BucketUnavailableError("another writer is making the same object just now") from error
            raise BucketUnavailableError(f"the bucket answered {code}") from error
        except BotoCoreError as error:
            raise BucketUnavailableError(f"the bucket cannot be reached: {type(error).__name__}") from error
        return True

    def read(self, key: str, at_most: int) -> bytes:
        try:
            return self._client.get_object(Bucket=self._name, Key=key)["Body"].read(at_most + 1)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if code in _MISSING:
                raise ObjectMissingError(key) from error
            raise BucketUnavailableError(f"the bucket answered {code}") from error
        except BotoCoreError as error:
            raise BucketUnavailableError(f"the bucket cannot be reached: {type(error).__name__}") from error

    def objects(self, prefix: str) -> Iterator[Listed]:
        with _answering():
            for page in self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix):
                for item in page.get("Contents", []):
                    yield Listed(item["Key"], item["LastModified"])

    def prefixes(self, prefix: str) -> Iterator[str]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._name, Prefix=prefix, Delimiter="/")
        with _answering():
            for page in pages:
                for item in page.get("CommonPrefixes", []):
                    yield item["Prefix"]

    def sign_put(self, key: str, headers: Mapping[str, str], seconds: int) -> str | None:
        object_ = {
            "Bucket": self._name,
            "Key": key,
            "ContentLength": int(headers["Content-Length"]),
            "ContentType": headers["Content-Type"],
            "IfNoneMatch": headers["If-None-Match"],
            "ChecksumSHA256": headers["x-amz-checksum-sha256"],
        }
        try:
            return self._client.generate_presigned_url("put_object", Params=object_, ExpiresIn=seconds)
        except (BotoCoreError, ClientError) as error:  # there are no credentials just now
            raise BucketUnavailableError(f"no address can be signed: {type(error).__name__}") from error


@contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise BucketUnavailableError(f"the bucket answered {error.response['Error']['Code']}") from error
    except BotoCoreError as error:
        raise BucketUnavailableError(f"the bucket cannot be reached: {type(error).__name__}") from error


class DirectoryBucket:
    """A folder; a key is a path below it. What it says is there survives a power cut."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def create(self, key: str, data: bytes) -> bool:
        path = self._path(key)
        try:
            # Written apart and then linked: the name appears with the whole content or not at all, and only once.
            # Apart first: where the folder itself is gone, a disk is not mounted, and it must not be made beneath.
            with tempfile.NamedTemporaryFile(dir=self._root, prefix=_SCRATCH) as scratch:
                scratch.write(data)
                scratch.flush()
                os.fsync(scratch.fileno())
                self._make(path.parent)
                try:
                    os.link(scratch.name, path)
                except FileExistsError:
                    return False
            for folder in (path.parent, *path.parent.parents):
                _sync(folder)
                if folder == self._root:
                    break
        except OSError as error:
            raise BucketUnavailableError(f"the bucket's folder {self._root}: {error.strerror}") from error
        return True

    def _make(self, folder: Path) -> None:
        # One below the other, and never the root: it may go away at any moment.
        if folder != self._root and not folder.exists():
            self._make(folder.parent)
            folder.mkdir(exist_ok=True)

    def read(self, key: str, at_most: int) -> bytes:
        try:
            with self._path(key).open("rb") as file:
                return file.read(at_most + 1)
        except FileNotFoundError as error:
            raise ObjectMissingError(key) from error
        except OSError as error:
            raise BucketUnavailableError(f"the bucket's folder {self._root}: {error.strerror}") from error

    def objects(self, prefix: str) -> Iterator[Listed]:
        for name in self._below(prefix):
            if name.endswith("/"):
                yield from self.objects(name)
            else:
                try:
                    seconds = (self._root / name).stat().st_mtime
                except FileNotFoundError:  # removed since
                    continue
                yield Listed(name, datetime.fromtimestamp(seconds, UTC))

    def prefixes(self, prefix: str) -> Iterator[str]:
        return (name for name in self._below(prefix) if name.endswith("/"))

    def _below(self, prefix: str) -> list[str]:
        """What one folder has of this prefix, in S3's order: folders end with a slash."""
        folder, _, start = prefix.rpartition("/")
        base = f"{folder}/" if folder else ""
        try:
            with os.scandir(self._path(folder)) as entries:
                found = [
                    f"{base}{entry.name}{'/' * entry.is_dir()}"
                    for entry in entries
                    if entry.name.startswith(start) and not entry.name.startswith(_SCRATCH)
                ]
        except OSError as error:
            if isinstance(error, FileNotFoundError) and self._root.exists():
                return []
            raise BucketUnavailableError(f"the bucket's folder {self._root}: {error.strerror}") from error
        return sorted(found, key=str.encode)

    def sign_put(self, key: str, headers: Mapping[str, str], seconds: int) -> str | None:  # noqa: ARG002 - of S3's
        return None

    def _path(self, key: str) -> Path:
        path = self._root / key
        if not path.resolve().is_relative_to(self._root.resolve()):
            raise ObjectMissingError(key)
        return path


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def open_bucket(url: str) -> Bucket:
    """The bucket at `s3://name` or `file:///folder`.

    Raises:
        ValueError: neither of these.
    """
    parts = urlsplit(url)
    if parts.scheme == "s3" and parts.netloc and parts.path in {"", "/"}:
        return S3Bucket(parts.netloc)
    if parts.scheme == "file" and not parts.netloc and parts.path:
        return DirectoryBucket(Path(parts.path))
    raise ValueError(f"a bucket is s3://name or file:///folder, not {url!r}")
