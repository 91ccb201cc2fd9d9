"""Promises of `pganalytics config apply` and `rollback`: shown first, saved once, and nobody's later change undone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from contracts.configuration import DocumentAsked, Group, ReleaseAsked
from tests.cli.pretending import Pretended, command


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "fleet.toml"
    path.write_text('preset = "minimal"\n[metrics.host_cpu]\nevery_seconds = 10\n')
    return path


def saved(pretended: Pretended, document: dict[str, Any], scope: str = "fleet", **asked: Any) -> None:
    pretended.save(scope, DocumentAsked(document=document, **asked))


def test_the_first_document_of_a_scope(pretended: Pretended, file: Path) -> None:
    result = command("config", "apply", file, "--comment", "a beginning", server=pretended.url)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [
        "fleet: new, nothing is live there yet",
        "  + metrics.host_cpu.every_seconds: 10",
        '  + preset: "minimal"',
        "fleet: version 1 is live; agents have it when they pull next",
    ]
    (version,) = pretended.versions["fleet"]
    assert (version.live, version.comment) == (True, "a beginning")
    assert version.document == {"preset": "minimal", "metrics": {"host_cpu": {"every_seconds": 10}}}


def test_what_changes_is_shown_against_what_is_live(pretended: Pretended, file: Path) -> None:
    saved(pretended, {"preset": "rds", "upload_every_seconds": 5, "metrics": {"host_cpu": {"every_seconds": 10}}})
    saved(pretended, {"preset": "exhaustive"}, activate=False)
    result = command("config", "apply", file, server=pretended.url)
    assert result.stdout.splitlines() == [
        "fleet: changes of version 1, which is live",
        '  ~ preset: "rds" -> "minimal"',
        "  - upload_every_seconds: 5",
        "fleet: version 3 is live; agents have it when they pull next",
        "version 2, a draft of bob, is older now and cannot be released any more",
    ]


def test_null_is_not_what_is_left_out(pretended: Pretended, tmp_path: Path) -> None:
    saved(pretended, {"budget": {"database_share": None}})
    file = tmp_path / "a.yaml"
    file.write_text("budget: {cpu_share: null}")
    result = command("config", "apply", file, server=pretended.url)
    assert result.stdout.splitlines()[1:3] == ["  + budget.cpu_share: null", "  - budget.database_share: null"]


def test_a_rehearsal_saves_nothing(pretended: Pretended, file: Path) -> None:
    result = command("config", "apply", file, "--dry-run", server=pretended.url)
    assert result.exit_code == 0
    assert '  + preset: "minimal"' in result.stdout
    assert pretended.changes == []


def test_what_is_the_same_is_not_saved_again(pretended: Pretended, file: Path) -> None:
    for _ in range(2):
        result = command("config", "apply", file, server=pretended.url)
    assert (result.exit_code, len(pretended.versions["fleet"])) == (0, 1)
    assert result.stdout.splitlines() == [
        "fleet: changes of version 1, which is live",
        "  nothing",
        "fleet: says so already, nothing is saved",
    ]


def test_a_draft_waits_for_its_release_and_says_how_it_begins(pretended: Pretended, file: Path) -> None:
    saved(pretended, {})
    result = command("config", "apply", file, "--draft", server=pretended.url)
    assert result.stdout.splitlines()[0] == "fleet, a draft: changes of version 1, which is live"
    assert "`pganalytics release start --scope fleet --version 2`" in result.stdout
    assert [each.live for each in pretended.versions["fleet"]] == [True, False]
    again = command("config", "apply", file, "--draft", server=pretended.url)
    assert "says so already" in again.stdout
    command("config", "apply", file, server=pretended.url)
    assert [each.live for each in pretended.versions["fleet"]] == [False, False, True], "now it is to be live"


@pytest.mark.parametrize("there", [True, False])
def test_what_another_saved_meanwhile_is_not_overwritten(pretended: Pretended, file: Path, there: bool) -> None:
    if there:
        saved(pretended, {"preset": "rds"})
    pretended.meanwhile = lambda: saved(pretended, {"upload_every_seconds": 5}, comment="faster")
    result = command("config", "apply", file, server=pretended.url)
    assert result.exit_code == 3
    assert pretended.versions["fleet"][-1].document == {"upload_every_seconds": 5}
    number = 2 if there else 1
    (line,) = result.stderr.splitlines()
    assert f"fleet was changed meanwhile, nothing is saved: there is version {number} of bob" in line
    assert "`pganalytics config diff --scope fleet`, and do it again" in line


def test_a_scope_with_a_release_on_its_way_is_left_alone(pretended: Pretended, file: Path) -> None:
    saved(pretended, {})
    saved(pretended, {"preset": "rds"}, activate=False)
    pretended.release(ReleaseAsked())
    result = command("config", "apply", file, server=pretended.url)
    assert (result.exit_code, len(pretended.versions["fleet"])) == (3, 2)
    assert "answered 409 release 1 of fleet is running: wait for its end, or abort it" in result.stderr


def test_what_is_wrong_with_a_file_is_said_before_anything_is_sent(pretended: Pretended, tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_text('preset = "x"\ncolour = "red"\n')
    result = command("config", "apply", file, server=pretended.url)
    assert (result.exit_code, result.stdout) == (1, "")
    assert [line.partition(f"{file}: ")[2].partition(":")[0] for line in result.stderr.splitlines()] == [
        "colour",
        "preset",
    ]
    assert pretended.door is not None
    assert pretended.door.asked == []


def test_what_the_server_refuses_is_told(pretended: Pretended, file: Path) -> None:
    result = command("config", "apply", file, "--comment", "x" * 501, server=pretended.url)
    assert result.exit_code == 2
    assert "answered 422" in result.stderr


def test_a_group_has_its_agents_from_the_command_or_the_file(pretended: Pretended, file: Path) -> None:
    scope = ("--scope", "group:web")
    result = command(
        "config", "apply", file, *scope, "--selector", "role=web", "--selector", "a=b", server=pretended.url
    )
    assert result.exit_code == 0
    assert "  + group.priority: 100" in result.stdout
    file.write_text('[group]\nselector = {role = "db"}\n')
    result = command("config", "apply", file, *scope, "--priority", "7", server=pretended.url)
    assert "  ~ group.priority: 100 -> 7" in result.stdout
    assert '  - group.selector.a: "b"' in result.stdout
    assert pretended.versions["group:web"][-1].group == Group(selector={"role": "db"}, priority=7)
    file.write_text('preset = "rds"\n')
    result = command("config", "apply", file, *scope, server=pretended.url)
    assert (result.exit_code, "group." in result.stdout) == (0, False), "who says nothing leaves it as it is"
    assert pretended.versions["group:web"][-1].group == Group(selector={"role": "db"}, priority=7)


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--scope", "group:web"), "which agents are in it? Give --selector NAME=VALUE"),
        (("--scope", "Fleet"), "--scope Fleet: fleet, group:NAME or agent:ID is expected"),
        (("--scope", "fleet/../x"), "--scope fleet/../x: "),
        (("--selector", "role=web"), "--scope fleet: only a group has a selector"),
        (("--scope", "group:a", "--selector", "web"), "--selector web: NAME=VALUE is expected"),
        (("--scope", "group:a", "--selector", "a=b", "--selector", "a=c"), "--selector a=c: NAME=VALUE is expected"),
        (("--scope", "group:a", "--selector", "A=b c"), "--selector A=b c: names are lower case"),
        (("--scope", "group:a", "--priority", "5"), "--priority: give --selector with it"),
    ],
)
def test_a_wrong_call_names_what_to_mend(
    pretended: Pretended, file: Path, arguments: tuple[str, ...], names: str
) -> None:
    result = command("config", "apply", file, *arguments, server=pretended.url)
    assert (result.exit_code, names in result.stderr) == (2, True), result.stderr
    assert pretended.changes == []


def test_as_json(pretended: Pretended, file: Path) -> None:
    saved(pretended, {"preset": "rds"})
    told = json.loads(command("config", "apply", file, "--json", "--dry-run", server=pretended.url).stdout)
    assert told == {
        "changes": [
            {"key": "metrics.host_cpu.every_seconds", "after": 10},
            {"key": "preset", "before": "rds", "after": "minimal"},
        ],
        "saved": None,
    }
    told = json.loads(command("config", "apply", file, "--json", server=pretended.url).stdout)
    assert (told["saved"]["version"], told["saved"]["live"]) == (2, True)


def test_an_earlier_version_is_had_again(pretended: Pretended) -> None:
    saved(pretended, {"preset": "rds"})
    saved(pretended, {"preset": "minimal", "upload_every_seconds": 5})
    arguments = ("config", "rollback", "1", "--comment", "too much")
    rehearsed = command(*arguments, "--dry-run", server=pretended.url)
    assert (rehearsed.exit_code, len(pretended.versions["fleet"])) == (0, 2)
    result = command(*arguments, server=pretended.url)
    assert result.stdout.splitlines() == [
        "fleet: changes of version 2, which is live",
        '  ~ preset: "minimal" -> "rds"',
        "  - upload_every_seconds: 5",
        "fleet: version 3 is live; agents have it when they pull next",
    ]
    newest = pretended.versions["fleet"][-1]
    assert (newest.document, newest.comment) == ({"preset": "rds"}, "too much")
    again = command(*arguments, server=pretended.url)
    assert "says so already" in again.stdout
    assert len(pretended.versions["fleet"]) == 3


def test_a_rollback_does_not_overwrite_either(pretended: Pretended) -> None:
    saved(pretended, {"preset": "rds"})
    saved(pretended, {"preset": "minimal"})
    pretended.meanwhile = lambda: saved(pretended, {"upload_every_seconds": 5})
    result = command("config", "rollback", "1", server=pretended.url)
    assert (result.exit_code, len(pretended.versions["fleet"])) == (3, 3)
    assert "there is version 3 of bob" in result.stderr


def test_a_version_that_there_is_not(pretended: Pretended) -> None:
    saved(pretended, {})
    result = command("config", "rollback", "7", server=pretended.url)
    assert (result.exit_code, "answered 404 fleet has no version 7" in result.stderr) == (1, True)
