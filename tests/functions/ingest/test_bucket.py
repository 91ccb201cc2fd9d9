from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from functions.ingest.bucket import (
    Bucket,
    BucketUnavailableError,
    DirectoryBucket,
    ObjectMissingError,
    S3Bucket,
    open_bucket,
)
from tests.s3 import S3

KEYS = [f"batches/v1/agent=a/dt=2026-01-0{day}/one.json.gz" for day in (1, 2)]


@pytest.fixture(params=["directory", "moto", "seaweedfs"])
def bucket(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bucket]:
    if request.param == "directory":
        yield DirectoryBucket(tmp_path)
        return
    if request.param == "seaweedfs":
        s3: S3 = request.getfixturevalue("s3")
        yield S3Bucket(s3.new_bucket(), s3.client())
        return
    with mock_aws():
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket="batches")
        yield S3Bucket("batches", client)


def test_what_was_made_can_be_read(bucket: Bucket) -> None:
    assert bucket.create(KEYS[0], b"content")
    assert bucket.read(KEYS[0], 100) == b"content"


def test_an_object_is_never_overwritten(bucket: Bucket) -> None:
    assert bucket.create(KEYS[0], b"first")
    assert not bucket.create(KEYS[0], b"second")
    assert bucket.read(KEYS[0], 100) == b"first"


def test_of_twenty_that_make_one_object_at_once_one_does(bucket: Bucket) -> None:
    def make(number: int) -> bool | None:
        try:
            return bucket.create(KEYS[0], b"%d" % number)
        except BucketUnavailableError:  # S3 tells some of them to come again
            return None

    with ThreadPoolExecutor(20) as racers:
        made = list(racers.map(make, range(20)))
    assert made.count(True) == 1
    assert made.count(False) + made.count(None) == 19
    assert bucket.read(KEYS[0], 100) == b"%d" % made.index(True)


def test_no_more_is_read_than_shows_that_it_is_too_much(bucket: Bucket) -> None:
    bucket.create(KEYS[0], b"0123456789")
    assert bucket.read(KEYS[0], 4) == b"01234"


def test_a_missing_object_is_named(bucket: Bucket) -> None:
    with pytest.raises(ObjectMissingError, match="agent=a"):
        bucket.read(KEYS[0], 100)


def test_objects_come_in_order_and_by_prefix(bucket: Bucket, request: pytest.FixtureRequest) -> None:
    others = ["batches/v1/agent=a.b/dt=2026-01-01/one.json.gz", "batches/v1/agent=ab/dt=2026-01-01/one.json.gz"]
    for key in (*reversed(KEYS), *others):
        bucket.create(key, b"x")
    assert [each.key for each in bucket.objects("batches/v1/agent=a/")] == KEYS
    # In the order of their bytes, a slash after a full stop; SeaweedFS goes folder by folder, which nobody relies on.
    in_order = [others[0], *KEYS, others[1]]
    if "seaweedfs" in request.node.name:
        in_order = [*KEYS, *others]
    assert [each.key for each in bucket.objects("batches/v1/")] == in_order
    assert [each.key for each in bucket.objects("batches/v1/agent=a/dt=2026-01-02/on")] == KEYS[1:]
    assert list(bucket.objects("batches/v1/agent=b/")) == []


def test_a_listing_says_when_an_object_was_made(bucket: Bucket) -> None:
    before = datetime.now(UTC)
    bucket.create(KEYS[0], b"x")
    (listed,) = bucket.objects(KEYS[0])
    # S3 says whole seconds, and file systems have clocks of their own.
    assert before - timedelta(seconds=2) < listed.made_at < datetime.now(UTC) + timedelta(seconds=2)


def test_prefixes_are_what_a_folder_has_of_folders(bucket: Bucket) -> None:
    for key in (*KEYS, "batches/v1/agent=b/dt=2026-01-01/one.json.gz", "batches/v1/strange"):
        bucket.create(key, b"x")
    assert list(bucket.prefixes("batches/v1/")) == ["batches/v1/agent=a/", "batches/v1/agent=b/"]
    assert list(bucket.prefixes("batches/v1/agent=a/")) == [f"batches/v1/agent=a/dt=2026-01-0{day}/" for day in (1, 2)]
    assert list(bucket.prefixes("batches/v1/agent=c/")) == []


def test_a_bucket_that_is_not_there_is_to_be_tried_again(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(BucketUnavailableError, match="Not a directory"):
        DirectoryBucket(tmp_path / "file").create(KEYS[0], b"x")
    for listing in (DirectoryBucket(tmp_path / "none").objects, DirectoryBucket(tmp_path / "none").prefixes):
        with pytest.raises(BucketUnavailableError, match="No such file"):
            list(listing("batches/v1/"))
    with mock_aws(), pytest.raises(BucketUnavailableError, match="NoSuchBucket"):
        S3Bucket("batches", boto3.client("s3", region_name="us-east-1")).create(KEYS[0], b"x")
    with mock_aws(), pytest.raises(BucketUnavailableError, match="NoSuchBucket"):
        list(S3Bucket("batches", boto3.client("s3", region_name="us-east-1")).prefixes("batches/v1/"))


def test_a_key_never_leads_out_of_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "bucket"
    folder.mkdir()
    (tmp_path / "secret").write_text("secret")
    with pytest.raises(ObjectMissingError):
        DirectoryBucket(folder).read("../secret", 100)


def test_nothing_half_written_is_left_in_the_folder(tmp_path: Path) -> None:
    DirectoryBucket(tmp_path).create(KEYS[0], b"x")
    assert [path.name for path in tmp_path.rglob("*") if path.is_file()] == ["one.json.gz"]


@pytest.mark.parametrize("url", ["", "batches", "s3://", "s3://batches/folder", "file://host/folder", "http://x"])
def test_a_url_that_is_no_bucket_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="a bucket is s3://name or file:///folder"):
        open_bucket(url)


def test_a_folder_and_a_bucket_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    assert isinstance(open_bucket(f"file://{tmp_path}"), DirectoryBucket)
    assert isinstance(open_bucket("s3://batches"), S3Bucket)


def test_a_folder_that_is_gone_is_an_outage_and_is_not_made_anew(tmp_path: Path) -> None:
    with pytest.raises(BucketUnavailableError, match="No such file"):
        DirectoryBucket(tmp_path / "unmounted").create(KEYS[0], b"x")
    assert not (tmp_path / "unmounted").exists()


def test_a_folder_that_goes_away_under_a_write_is_not_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, elsewhere = tmp_path / "bucket", tmp_path / "elsewhere"
    root.mkdir()
    synced = os.fsync

    def goes_away(descriptor: int) -> None:
        synced(descriptor)
        if root.exists():
            root.rename(elsewhere)

    monkeypatch.setattr(os, "fsync", goes_away)
    with pytest.raises(BucketUnavailableError):
        DirectoryBucket(root).create(KEYS[0], b"x")
    assert not root.exists()
