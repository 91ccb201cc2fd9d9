"""Promises of what `pganalytics config` shows, and of the labels that agents are given."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from contracts.configuration import AgentConfiguration, DocumentAsked, Group
from tests.cli.pretending import NOW, Pretended, command


@pytest.fixture
def filled(pretended: Pretended) -> Pretended:
    """A fleet with two versions, one of them a draft; a group and an agent of its own."""

    def save(scope: str, document: dict[str, Any], **asked: Any) -> None:
        pretended.save(scope, DocumentAsked(document=document, **asked))

    save("fleet", {"preset": "rds", "databases": {"include": ["ä*"]}}, comment="a beginning\nin two lines")
    save("fleet", {"preset": "minimal", "databases": {"include": ["ä*"]}}, activate=False)
    save("group:web", {}, group=Group(selector={"role": "web"}, priority=7))
    save("agent:db-1", {"budget": {"cpu_share": None}})
    pretended.labels = {"db-1": {"role": "web"}, "db-2": {}}
    return pretended


def test_the_list_of_scopes_goes_on_over_pages(filled: Pretended) -> None:
    rows = command("config", "show", server=filled.url).stdout.splitlines()
    assert [row.split()[:2] for row in rows[1:]][:2] == [["agent:db-1", "1"], ["fleet", "2"]]
    assert "live" not in rows[2]
    assert ("group:web" in rows[4], "role=web" in rows[4]) == (True, True)
    listed = json.loads(command("config", "show", "--json", server=filled.url).stdout)
    assert [(each["scope"], each["version"]) for each in listed] == [
        ("agent:db-1", 1),
        ("fleet", 2),
        ("fleet", 1),
        ("group:web", 1),
    ]


def test_a_document_is_shown_as_apply_takes_it(filled: Pretended, tmp_path: Path) -> None:
    shown = command("config", "show", "--scope", "fleet", "--version", "1", server=filled.url).stdout
    assert shown.startswith("# fleet, version 1, live, by bob, 2026-03-29 01:30:00Z\n# a beginning\n# in two lines\n")
    assert yaml.safe_load(shown) == {"preset": "rds", "databases": {"include": ["ä*"]}}
    file = tmp_path / "again.yaml"
    for scope in ("agent:db-1", "group:web"):
        file.write_text(command("config", "show", "--scope", scope, server=filled.url).stdout)
        again = command("config", "apply", file, "--scope", scope, server=filled.url)
        assert "says so already" in again.stdout
    newest = json.loads(command("config", "show", "--scope", "fleet", "--json", server=filled.url).stdout)
    assert (newest["version"], newest["live"]) == (2, False)


def test_what_an_agent_is_to_obey_and_why(filled: Pretended) -> None:
    told = command("config", "show", "--agent", "db-1", server=filled.url).stdout
    assert told.startswith("# db-1, version 4, of fleet, agent:db-1; its labels: role=web\n")
    document = yaml.safe_load(told)
    assert (document["preset"], document["budget"]["cpu_share"]) == ("rds", None)
    explained = command("config", "show", "--agent", "db-1", "--explain", server=filled.url).stdout
    rows = {cells[0]: cells[1:] for cells in (line.split() for line in explained.splitlines()[2:])}
    assert rows["preset"] == ['"rds"', "fleet"]
    assert rows["budget.cpu_share"] == ["null", "agent:db-1"]
    assert rows["upload_every_seconds"] == ["60", "default"]
    as_json = json.loads(command("config", "show", "--agent", "db-1", "--json", server=filled.url).stdout)
    assert as_json["origins"]["preset"] == "fleet"


@pytest.mark.parametrize(
    ("arguments", "code", "names"),
    [
        (("show", "--scope", "fleet", "--agent", "db-1"), 2, "either --scope or --agent"),
        (("show", "--explain"), 2, "--explain goes with --agent"),
        (("show", "--version", "1"), 2, "--version with --scope"),
        (("show", "--scope", "web"), 2, "--scope web: fleet, group:NAME"),
        (("show", "--scope", "group:none"), 1, "answered 404 group:none has no version"),
        (("show", "--agent", "db-9"), 1, "answered 404 there is no agent db-9"),
        (("status", "--state", "happy"), 2, "happy"),
    ],
)
def test_what_cannot_be_shown(filled: Pretended, arguments: tuple[str, ...], code: int, names: str) -> None:
    result = command("config", *arguments, server=filled.url)
    assert (result.exit_code, result.stdout, names in result.stderr) == (code, "", True), result.stderr


def test_versions_are_compared(filled: Pretended) -> None:
    result = command("config", "diff", server=filled.url)
    assert result.stdout.splitlines() == ["fleet: from version 1 to 2", '  ~ preset: "rds" -> "minimal"']
    of_nothing = command("config", "diff", "--from", "0", "--to", "1", server=filled.url)
    assert of_nothing.stdout.splitlines()[1:] == ['  + databases.include: ["ä*"]', '  + preset: "rds"']
    bound = command("config", "diff", "--scope", "agent:db-1", "--from", "1", server=filled.url)
    assert bound.stdout.splitlines()[1:] == ["  nothing"]
    assert json.loads(command("config", "diff", "--json", server=filled.url).stdout)["from_version"] == 1


def test_a_name_between_colons_is_no_picture(pretended: Pretended, tmp_path: Path) -> None:
    file = tmp_path / "key.toml"
    file.write_text('preset = "rds"\n')
    applied = command("config", "apply", file, "--scope", "group:key", "--selector", "role=key", server=pretended.url)
    assert applied.stdout.startswith("group:key: new, ")
    compared = command("config", "diff", "--scope", "group:key", "--from", "0", server=pretended.url)
    assert compared.stdout.startswith("group:key: from version 0 to 1")
    assert "agent:ID" in command("config", "show", "--help").stdout


def test_the_history_is_the_newest_first(filled: Pretended) -> None:
    for number in range(3):
        filled.save("fleet", DocumentAsked(document={"upload_every_seconds": number + 1}))
    rows = command("config", "history", server=filled.url).stdout.splitlines()
    assert [row.split()[1] for row in rows[1:6]] == ["5", "4", "3", "2", "1"]
    assert [("live" in row) for row in rows[1:6]] == [True, False, False, False, False]
    last = json.loads(command("config", "history", "--last", "3", "--json", server=filled.url).stdout)
    assert [each["version"] for each in last] == [5, 4, 3]


def agent(name: str, state: Any, reason: str | None = None) -> AgentConfiguration:
    return AgentConfiguration(
        agent_id=name, state=state, version=4, reported_version=3, reason=reason, last_seen_at=NOW
    )


def test_which_version_of_a_scope_an_agent_obeys_can_be_looked_up(filled: Pretended) -> None:
    obeys = json.loads(command("config", "show", "--agent", "db-1", "--json", server=filled.url).stdout)["version"]
    head, *rows = command("config", "show", server=filled.url).stdout.splitlines()
    assert head.split()[:3] == ["scope", "version", "revision"]
    assert [row.split()[:3] for row in rows if row.split()[2] == str(obeys)] == [["agent:db-1", "1", str(obeys)]]


def test_the_status_counts_all_and_lists_who_does_not_obey(pretended: Pretended) -> None:
    pretended.agents = [agent(f"db-{number}", "current") for number in range(5)]
    pretended.agents += [agent("db-7", "rejected", "preset: [bold]there is no such one"), agent("db-8", "silent")]
    told = command("config", "status", server=pretended.url).stdout.splitlines()
    assert told[0] == "5 current, 0 behind, 1 rejected, 1 silent, 0 unknown"
    assert [line.split()[0] for line in told[2:]] == ["db-7", "db-8"]
    assert "preset: [bold]there is no such one" in told[2]
    every = json.loads(command("config", "status", "--all", "--json", server=pretended.url).stdout)
    assert (every["counts"]["current"], len(every["items"])) == (5, 7)
    one = json.loads(command("config", "status", "--state", "silent", "--json", server=pretended.url).stdout)
    assert [each["agent_id"] for each in one["items"]] == ["db-8"]


def test_labels_are_given_and_taken_one_by_one(filled: Pretended) -> None:
    given = command("agents", "label", "db-1", "canary=true", "env=prod", server=filled.url)
    assert given.stdout == "db-1: canary=true env=prod role=web\n"
    taken = command("agents", "label", "db-1", "role-", "env=test", server=filled.url)
    assert taken.stdout == "db-1: canary=true env=test\n"
    assert filled.labels["db-1"] == {"canary": "true", "env": "test"}
    changes = len(filled.changes)
    assert command("agents", "label", "db-1", server=filled.url).stdout == "db-1: canary=true env=test\n"
    assert json.loads(command("agents", "label", "db-2", "--json", server=filled.url).stdout) == {}
    assert len(filled.changes) == changes


@pytest.mark.parametrize(
    ("arguments", "code", "names"),
    [
        (("db-1", "Role=web"), 2, "names are lower case"),
        (("db-1", "role"), 2, "NAME=VALUE is expected"),
        (("db-1", "colour-"), 2, "db-1 has no label colour"),
        (("db-9", "a=b"), 1, "there is no agent db-9"),
    ],
)
def test_labels_that_cannot_be_given(filled: Pretended, arguments: tuple[str, ...], code: int, names: str) -> None:
    result = command("agents", "label", *arguments, server=filled.url)
    assert (result.exit_code, names in result.stderr) == (code, True), result.stderr
    assert filled.changes == []
