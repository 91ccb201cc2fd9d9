"""Promises of `pganalytics release`: what is asked for is what begins, and it is followed to its end."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from contracts.configuration import DocumentAsked, Gates, Release, ReleaseAsked
from tests.cli.pretending import NOW, Pretended, command


@pytest.fixture
def ready(pretended: Pretended) -> Pretended:
    """A fleet with a draft that waits for its release."""
    pretended.save("fleet", DocumentAsked(document={}))
    pretended.save("fleet", DocumentAsked(document={"preset": "minimal"}, activate=False))
    return pretended


def test_a_release_begins_as_it_was_asked_for(ready: Pretended) -> None:
    result = command(
        *("release", "start", "--version", "2", "--stages", "canary, label:env=test,0.5%,100%", "--bake", "90s"),
        *("--gate", "errors=0.5%,agent_cpu=off", "--gate", "db_time=1.5x", "--comment", "gently"),
        server=ready.url,
    )
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == "release 1 of fleet, version 2, has begun: canary, label:env=test, 0.5%, 100%\n"
    ((_, path, body),) = ready.changes
    assert path == "/v1/releases"
    assert ReleaseAsked.model_validate(body) == ReleaseAsked(
        version=2,
        stages=("canary", "label:env=test", "0.5%", "100%"),
        bake_seconds=90,
        gates=Gates(errors=0.005, agent_cpu=None, db_time=1.5),
        comment="gently",
    )


def test_without_more_it_is_the_newest_draft_in_the_usual_stages(ready: Pretended) -> None:
    assert command("release", "start", server=ready.url).exit_code == 0
    assert ReleaseAsked.model_validate(ready.changes[0][2]) == ReleaseAsked()


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        (("--stages", "canaries"), "--stages canaries: canary, label:NAME=VALUE or a share"),
        (("--stages", "1%,101%"), "--stages 101%: "),
        (("--bake", "10"), "--bake 10: a number and s, m, h or d, at most 7d"),
        (("--bake", "8d"), "--bake 8d"),
        (("--gate", "cpu=2x"), "--gate cpu=2x: there is errors, missing, agent_cpu, db_time"),
        (("--gate", "errors=much"), "--gate errors=much: a share such as 1% is expected"),
        (("--gate", "errors=101%"), "--gate errors: Input should be less than or equal to 1"),
        (("--gate", "errors=off"), "a share such as 1% is expected"),
        (("--gate", "db_time=0.5x"), "--gate db_time: Input should be greater than or equal to 1"),
        (("--scope", "everything"), "--scope everything: "),
        (("--comment", "x" * 501), "--comment "),
    ],
)
def test_a_wrong_call_names_what_to_mend(ready: Pretended, arguments: tuple[str, ...], names: str) -> None:
    result = command("release", "start", *arguments, server=ready.url)
    assert (result.exit_code, names in result.stderr) == (2, True), result.stderr
    assert ready.changes == []


def test_one_release_at_a_time(ready: Pretended) -> None:
    ready.release(ReleaseAsked())
    result = command("release", "start", server=ready.url)
    assert (result.exit_code, len(ready.releases)) == (3, 1)
    assert "release 1 of fleet is running: wait for its end, or abort it" in result.stderr


def test_a_release_is_held_resumed_and_taken_back(ready: Pretended) -> None:
    ready.release(ReleaseAsked())
    for arguments, state in ((("pause",), "paused"), (("resume", "1"), "running"), (("abort",), "aborted")):
        result = command("release", *arguments, server=ready.url)
        assert result.stdout == f"release 1 of fleet is {state}, at stage canary\n"
    over = command("release", "abort", server=ready.url)
    assert (over.exit_code, "no release is on its way" in over.stderr) == (2, True)
    wrong = command("release", "resume", "1", server=ready.url)
    assert (wrong.exit_code, "only one that is paused can be running" in wrong.stderr) == (3, True)
    unknown = command("release", "status", "7", server=ready.url)
    assert (unknown.exit_code, "there is no release 7" in unknown.stderr) == (1, True)


def test_of_several_one_has_to_be_named(ready: Pretended) -> None:
    ready.save("group:web", DocumentAsked(document={}))
    for scope in ("fleet", "group:web"):
        ready.release(ReleaseAsked(scope=scope))
    result = command("release", "pause", server=ready.url)
    assert (result.exit_code, "On their way are 2 of group:web, 1 of fleet" in result.stderr) == (2, True)
    assert json.loads(command("release", "pause", "2", "--json", server=ready.url).stdout)["state"] == "paused"


def test_releases_are_listed_and_the_newest_is_shown(ready: Pretended) -> None:
    empty = command("release", "status", server=ready.url)
    assert (empty.exit_code, "there is no release" in empty.stderr) == (2, True)
    for _ in range(3):
        ready.release(ReleaseAsked(comment="[b]gently[/b] :fire:"))
    rows = command("release", "list", server=ready.url).stdout.splitlines()
    assert [row.split()[0] for row in rows[1:]] == ["3", "2", "1"]
    shown = command("release", "status", server=ready.url).stdout
    assert shown.startswith("release 3 of fleet: version 1 -> 2, running, by alice, 2026-03-29 01:30:00Z\n")
    for line in (
        "stages: canary, 1%, 10%, 100%; at canary since 2026-03-29 01:30:00Z, each bakes 600 s",
        "given to 0 of 200 agents",
        "gates: errors=1%, missing=2%, agent_cpu=2x, db_time=2x",
        "comment: [b]gently[/b] :fire:",
        'started  canary  alice  {"to": 2}',
    ):
        assert line in shown
    assert json.loads(command("release", "status", "2", "--json", server=ready.url).stdout)["id"] == 2


def going(*steps: dict[str, object]) -> Iterator[dict[str, object]]:
    yield from steps
    while True:
        yield {}


@pytest.mark.parametrize(("state", "code"), [("done", 0), ("halted", 1), ("aborted", 1)])
def test_a_release_is_followed_to_its_end(ready: Pretended, state: str, code: int) -> None:
    steps = going(
        {},
        {"touched": 1},
        {},
        {"stage": 1, "stage_since_at": NOW, "touched": 20},
        {"state": state, "reason": "errors: [bold]0.05, of 0.01 allowed" if code else None},
    )

    def look(release: Release) -> Release:
        return release.model_copy(update=next(steps))

    ready.looked = look
    result = command("release", "start", "--watch", "--every", "0.01", server=ready.url)
    assert result.exit_code == code
    assert result.stderr.splitlines() == [
        "release 1 is running, stage 1 of 4 (canary): given to 0 of 200 agents",
        "release 1 is running, stage 1 of 4 (canary): given to 1 of 200 agents",
        "release 1 is running, stage 2 of 4 (1%): given to 20 of 200 agents",
        f"release 1 is {state}, stage 2 of 4 (1%): given to 20 of 200 agents",
    ]
    assert f"-> 2, {state}, by alice" in result.stdout
    assert ("reason: errors: [bold]0.05" in result.stdout) == bool(code)


def test_a_watch_outlives_a_server_that_is_away_for_a_moment(ready: Pretended, monkeypatch: pytest.MonkeyPatch) -> None:
    ready.release(ReleaseAsked())
    ready.away = iter([False, True, True, False, False])
    steps = going({}, {}, {"state": "done"})
    ready.looked = lambda release: release.model_copy(update=next(steps))
    watch = ("release", "status", "--watch", "--every", "0.01", "--json")
    result = command(*watch, server=ready.url)
    assert (result.exit_code, json.loads(result.stdout)["state"]) == (0, "done")
    ready.release(ReleaseAsked())
    ready.away = iter([False, True])
    monkeypatch.setattr("cli.watching.AWAY_SECONDS", 0.0)
    result = command(*watch, server=ready.url)
    assert (result.exit_code, "answered 503" in result.stderr) == (1, True)
