"""Promises of the follower: every entry is read once, whatever happens to the files and to the agent."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.logs.errors import LogUnreadableError
from agent.logs.files import LINE_LIMIT_BYTES
from agent.logs.follow import LogFollower, matching
from agent.logs.mark import Mark
from agent.logs.parser import Form

Follow = Callable[..., LogFollower]
Entry = dict[str, object]
Entries = Callable[..., list[Entry]]


@pytest.fixture
def follow(tmp_path: Path) -> Iterator[Follow]:
    made: list[LogFollower] = []

    def make(pattern: str = "*", mark: Mark | None = None, form: Form | None = None) -> LogFollower:
        made.append(LogFollower(partial(matching, tmp_path, pattern), mark=mark, form=form))
        return made[-1]

    yield make
    for follower in made:
        follower.close()


def line(number: int, more: str = "") -> str:
    return f"2026-01-02 00:04:05.{number:03} UTC [{number}] LOG:  event {number}{more}\n"


def csv_record(number: int, statement: str = "") -> str:
    quoted = statement.replace('"', '""')
    return (
        f'2026-01-02 00:04:05.{number:03} UTC,"app","shop",{number},"[local]",69570a35.7b,1,"SELECT",'
        f'2026-01-02 00:00:00 UTC,3/1,0,ERROR,22P02,"event {number}",,,,,,"{quoted}",,,"psql","client backend",,0\n'
    )


def json_line(number: int, **values: object) -> str:
    entry = {"timestamp": f"2026-01-02 00:04:05.{number:03} UTC", "pid": number, "error_severity": "LOG"}
    return json.dumps({**entry, "message": f"event {number}", **values}) + "\n"


#: Writes the entry of a number in the form of the file.
WRITE: Mapping[str, Callable[[int], str]] = {
    "a.log": line,
    "a.csv": lambda number: csv_record(number, f"select\n'x,\"' {number}"),
    "a.json": json_line,
}


def append(path: Path, *texts: str) -> None:
    with path.open("a") as file:
        file.write("".join(texts))


def numbers(found: list[Entry]) -> list[int]:
    return [int(str(entry["message"]).removeprefix("event ")) for entry in found]


def test_without_a_mark_what_was_written_before_stays_unread(tmp_path: Path, follow: Follow, entries: Entries) -> None:
    append(tmp_path / "old.log", line(1))
    append(tmp_path / "new.log", line(2), "2026-01-02 00:04:05.003 UTC [3] LO")
    follower = follow()
    assert entries(follower) == []
    append(tmp_path / "new.log", "G:  event 3\n")
    append(tmp_path / "newer.log", line(4))
    assert numbers(entries(follower)) == [3, 4]


def test_a_log_that_begins_after_the_agent_is_read_from_its_beginning(
    tmp_path: Path, follow: Follow, entries: Entries
) -> None:
    follower = follow()
    assert follower.read(10, 1000) == ([], Mark(), False)
    append(tmp_path / "a.log", line(1))
    assert numbers(entries(follower)) == [1]


@pytest.mark.parametrize("name", ["a.log", "a.csv", "a.json"])
def test_a_half_written_line_waits_for_its_end(tmp_path: Path, follow: Follow, entries: Entries, name: str) -> None:
    path = tmp_path / name
    write = WRITE[name]
    follower = follow()
    entries(follower)
    append(path, write(1), write(2)[:100])
    found = entries(follower)
    append(path, write(2)[100:], write(3))
    found += entries(follower)
    assert numbers(found) == [1, 2, 3]
    assert {entry["severity"] for entry in found} <= {"LOG", "ERROR"}


def test_the_last_entry_of_a_growing_stderr_file_waits_until_it_is_whole(tmp_path: Path, follow: Follow) -> None:
    path = tmp_path / "a.log"
    follower = follow()
    follower.read(10, 1000)
    append(path, line(1))
    assert follower.read(10, 1000).rows == []
    append(path, "2026-01-02 00:04:05.001 UTC [1] STATEMENT:  select 1\n")
    assert follower.read(10, 1000).rows == []
    (row,) = follower.read(10, 1000).rows
    assert row[-1] == "select ?"
    assert follower.read(10, 1000).rows == []


@pytest.mark.parametrize("moved_to", ["a.log.1", "gone"])
def test_the_tail_of_a_renamed_file_is_read_first(
    tmp_path: Path, follow: Follow, entries: Entries, moved_to: str
) -> None:
    follower = follow("*.log*")
    entries(follower)
    append(tmp_path / "a.log", line(1))
    found = entries(follower)
    (tmp_path / "a.log").rename(tmp_path / moved_to)
    append(tmp_path / moved_to, line(2))
    append(tmp_path / "a.log", line(3))
    found += entries(follower)
    assert numbers(found) == [1, 2, 3]


@pytest.mark.parametrize("pattern", ["a.log", "a.log*"])
def test_an_entry_is_read_once_across_copytruncate(
    tmp_path: Path, follow: Follow, entries: Entries, pattern: str
) -> None:
    path = tmp_path / "a.log"
    follower = follow(pattern)
    entries(follower)
    append(path, line(1), line(2), line(3))
    found = entries(follower)
    if pattern == "a.log*":
        append(path, line(4))  # only the copy still has it
    shutil.copy(path, tmp_path / "a.log.1")
    os.truncate(path, 0)
    append(path, line(5))
    found += entries(follower)
    append(path, line(6))
    found += entries(follower)
    assert numbers(found) == ([1, 2, 3, 4, 5, 6] if pattern == "a.log*" else [1, 2, 3, 5, 6])


def test_a_copy_is_not_read_beside_its_original(tmp_path: Path, follow: Follow, entries: Entries) -> None:
    follower = follow()
    entries(follower)
    append(tmp_path / "a.log", line(1), line(2), line(3))
    found = entries(follower)
    append(tmp_path / "a.log", line(4))
    shutil.copy(tmp_path / "a.log", tmp_path / "a.log.1")
    assert numbers(found + entries(follower)) == [1, 2, 3, 4]


def test_a_file_written_anew_with_the_same_beginning_has_an_identity_of_its_own(
    tmp_path: Path, follow: Follow, entries: Entries
) -> None:
    path = tmp_path / "a.log"
    follower = follow()
    entries(follower)
    append(path, line(1), line(2))
    found = entries(follower)
    os.truncate(path, 0)
    append(path, line(1))
    found += entries(follower)
    assert numbers(found) == [1, 2, 1]
    assert len({(entry["file_id"], entry["position"]) for entry in found}) == 3


@pytest.mark.parametrize("name", ["a.log", "a.csv", "a.json"])
def test_reading_on_from_a_stored_mark_brings_each_entry_once(tmp_path: Path, follow: Follow, name: str) -> None:
    write = WRITE[name]
    mark = Mark()
    append(tmp_path / name, *(write(number) for number in range(50)))
    seen: list[int] = []
    rounds = 0
    while len(seen) < 50:
        follower = follow(mark=mark)
        follower.read(3, 200)  # killed before these rows were stored
        follower.rewind(mark)
        reading = follower.read(4, 10_000)
        if not reading.rows:
            reading = follower.read(4, 10_000)
        assert len(reading.rows) <= 4
        seen += [int(str(row[12]).removeprefix("event ")) for row in reading.rows]
        mark = Mark.model_validate_json(reading.mark.model_dump_json())
        rounds += 1
    assert seen == list(range(50))
    assert rounds >= 13


def test_more_tells_that_a_limit_was_reached(tmp_path: Path, follow: Follow) -> None:
    follower = follow()
    follower.read(1, 1)
    append(tmp_path / "a.json", json_line(1), json_line(2))
    append(tmp_path / "b.json", json_line(3))
    assert [(len(reading.rows), reading.more) for reading in (follower.read(1, 1_000) for _ in range(4))] == [
        (1, True),
        (1, True),
        (1, False),
        (0, False),
    ]


def test_of_one_log_in_several_forms_the_best_is_read(tmp_path: Path, follow: Follow, entries: Entries) -> None:
    follower = follow()
    told = follow(form=Form.CSV)
    for each in (follower, told):
        entries(each)
    append(tmp_path / "a.log", line(1))
    append(tmp_path / "a.csv", csv_record(2))
    append(tmp_path / "a.json", json_line(3))
    append(tmp_path / "b.csv", csv_record(4))
    append(tmp_path / "b.log.1", line(5))
    assert sorted(numbers(entries(follower))) == [3, 4, 5]
    assert numbers(entries(told)) == [2, 4]


def test_deleted_and_compressed_files_are_no_trouble(tmp_path: Path, follow: Follow, entries: Entries) -> None:
    follower = follow()
    entries(follower)
    append(tmp_path / "a.log", line(1))
    follower.read(10, 1000)
    (tmp_path / "a.log").unlink()
    (tmp_path / "a.log.1.gz").write_bytes(b"\x1f\x8b")
    append(tmp_path / "b.log", line(2))
    assert numbers(entries(follower)) == [1, 2]
    (tmp_path / "b.log").unlink()
    assert entries(follower) == []


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.log", line(1, "x" * 3_000_000 + " 'secret'")),
        ("a.csv", csv_record(1, "select '" + "x" * 3_000_000 + "\nsecret'")),
        ("a.json", json_line(1, statement="select '" + "x" * 3_000_000 + "secret'")),
        ("a.json", json_line(1, statement="select '" + '"\\' * 1_000_000 + "secret'")),
    ],
)
def test_a_huge_line_is_cut_and_the_next_is_read(
    tmp_path: Path, follow: Follow, entries: Entries, name: str, text: str
) -> None:
    follower = follow()
    entries(follower)
    assert len(text) > LINE_LIMIT_BYTES
    append(tmp_path / name, text, WRITE[name](2))
    first, second = entries(follower, limit_bytes=1000)
    assert first["pid"] == 1
    assert str(first["message"]).startswith("event 1")
    assert len(str(first["message"]).encode()) <= 4096
    assert "secret" not in str(first)
    assert second["message"] == "event 2"


def test_texts_are_capped_with_a_visible_mark(tmp_path: Path, follow: Follow, entries: Entries) -> None:
    follower = follow()
    entries(follower)
    append(tmp_path / "a.json", json_line(1, detail="é" * 5000, statement="select a" + ", b" * 5000))
    (entry,) = entries(follower)
    assert len(str(entry["detail"]).encode()) in (4095, 4096)
    assert len(str(entry["statement"]).encode()) == 8192
    assert str(entry["detail"]).endswith("…")
    assert str(entry["statement"]).endswith("…")


def test_broken_bytes_and_malformed_lines_stop_nothing(tmp_path: Path, follow: Follow, entries: Entries) -> None:
    follower = follow()
    entries(follower)
    (tmp_path / "a.json").write_bytes(
        b'{"error_severity": "LOG", "message": "event 1", "user": "a\xff\\u0000\\ud800b"}\nnot "json" secret\n\n[]\n'
    )
    append(tmp_path / "a.json", json_line(2))
    append(tmp_path / "b.csv", "torn, 'secret\n", csv_record(3)[:-9] + ',"torn\n', csv_record(4), csv_record(5)[:-6])
    append(tmp_path / "c.log", line(6))
    found = entries(follower)
    messages = [str(entry["message"]).removeprefix("event ") for entry in found]
    assert messages == ["1", "?", "?", "2", "?", "3", "4", "5", "6"]
    assert found[0]["user_name"] == "a\ufffd?b"
    assert "secret" not in str(found)


@pytest.fixture
def as_nobody(tmp_path: Path) -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    for folder in tmp_path.parents:
        if not folder.stat().st_mode & 0o001:
            folder.chmod(0o755)
    tmp_path.chmod(0o755)
    os.seteuid(65534)
    yield
    os.seteuid(0)


def test_a_file_without_permission_is_named_with_what_to_mend(
    tmp_path: Path, follow: Follow, as_nobody: None, request: pytest.FixtureRequest
) -> None:
    path = tmp_path / "a.log"
    uid = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(0)
    append(path, line(1))
    path.chmod(0)
    os.seteuid(uid)
    follower = follow()
    with pytest.raises(LogUnreadableError, match=r"a\.log: permission denied; add the agent's user to the group \w+"):
        follower.read(10, 1000)


def test_a_folder_without_permission_is_not_an_empty_folder(tmp_path: Path, as_nobody: None) -> None:
    uid = os.geteuid()
    if os.getuid() == 0:
        os.seteuid(0)
    folder = tmp_path / "log"
    folder.mkdir()
    assert matching(folder, "*.log") == []
    append(folder / "a.log", line(1))
    append(folder / "a.txt", line(1))
    assert matching(folder, "*.log") == [folder / "a.log"]
    assert matching(tmp_path / "none", "*") == []
    folder.chmod(0)
    os.seteuid(uid)
    try:
        with pytest.raises(LogUnreadableError, match="add the agent's user to the group"):
            matching(folder, "*.log")
    finally:
        if os.getuid() == 0:
            os.seteuid(0)
        folder.chmod(0o755)


_OPERATIONS = st.lists(
    st.sampled_from(["write", "write", "half", "read", "read", "small read", "restart", "rename", "copytruncate"]),
    max_size=40,
)


@settings(deadline=None)  # files of a slow disk
@given(_OPERATIONS, st.sampled_from(["log", "json", "csv"]))
def test_every_entry_is_read_once_in_any_order_of_events(operations: list[str], extension: str) -> None:
    write = WRITE[f"a.{extension}"]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / f"a.{extension}"
        follower = LogFollower(partial(matching, folder, "*"))
        mark = follower.read(10, 1000).mark
        seen: list[int] = []
        written = turn = 0
        half = ""
        for operation in [*operations, "write", "read", "read", "read", "read"]:
            match operation:
                case "write":
                    append(path, half or write(written))
                    half = ""
                    written += 1
                case "half" if not half:
                    text = write(written)
                    append(path, text[:30])
                    half = text[30:]
                case "read" | "small read":
                    more = True
                    while more:
                        rows, mark, more = follower.read(2 if operation == "small read" else 100, 300)
                        seen += [int(str(row[12]).removeprefix("event ")) for row in rows]
                        more = more and operation == "read"
                case "restart":
                    follower.close()
                    follower = LogFollower(partial(matching, folder, "*"), mark=mark)
                case "rename" | "copytruncate" if path.exists() and not half:
                    turn += 1
                    old = folder / f"a.{extension}.{turn}"
                    if operation == "rename":
                        path.rename(old)
                    else:
                        shutil.copy(path, old)
                        os.truncate(path, 0)
        follower.close()
        assert sorted(seen) == list(range(written))
