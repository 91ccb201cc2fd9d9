"""Files of secrets are whole or not there, and their owner's."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from functions.authorizer.private_file import create, replace


@pytest.fixture(autouse=True)
def _anybody_may_read_by_default() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    found = tmp_path / "secret"
    create(found, "old")
    return found


def test_a_new_file_is_its_owners(file: Path) -> None:
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("old", 0o600)
    assert list(file.parent.iterdir()) == [file]


def test_a_file_that_is_there_stays(file: Path) -> None:
    with pytest.raises(FileExistsError):
        create(file, "new")
    assert file.read_text() == "old"
    assert list(file.parent.iterdir()) == [file]


def test_who_has_opened_the_old_text_reads_it_to_its_end(file: Path) -> None:
    with file.open() as opened:
        replace(file, "new")
        assert opened.read() == "old"
    assert (file.read_text(), stat.S_IMODE(file.stat().st_mode)) == ("new", 0o600)
    assert list(file.parent.iterdir()) == [file]


def test_a_link_still_leads_to_it(file: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(file)
    replace(link, "new")
    assert (link.is_symlink(), file.read_text()) == (True, "new")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root writes for others")
def test_root_writes_it_for_its_owner(file: Path) -> None:
    os.chown(file, 12_345, 23_456)
    replace(file, "new")
    assert (file.stat().st_uid, file.stat().st_gid) == (12_345, 23_456)


def test_what_is_not_there_is_not_replaced(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        replace(tmp_path / "none", "new")
    with pytest.raises(FileNotFoundError):
        create(tmp_path / "none" / "file", "new")
    assert list(tmp_path.iterdir()) == []
