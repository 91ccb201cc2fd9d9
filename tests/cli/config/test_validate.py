"""Promises of `pganalytics config validate`: without a server, everything that is wrong, by file and key."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cli.config.files import FileError, read
from contracts.configuration import Group
from tests.cli.pretending import command

#: The same document in each form.
FORMS = {
    "a.toml": 'pull_every_seconds = 30\n[metrics.host_cpu]\nenabled = false\n[group]\nselector = {role = "web"}\n',
    "a.yaml": "pull_every_seconds: 30\nmetrics:\n  host_cpu: {enabled: false}\ngroup:\n  selector: {role: web}\n",
    "a.yml": "{pull_every_seconds: 30, metrics: {host_cpu: {enabled: no}}, group: {selector: {role: web}}}",
    "a.JSON": json.dumps(
        {
            "pull_every_seconds": 30,
            "metrics": {"host_cpu": {"enabled": False}},
            "group": {"selector": {"role": "web"}},
        }
    ),
}


def written(folder: Path, name: str, content: str) -> Path:
    file = folder / name
    file.write_text(content, encoding="utf-8")
    return file


@pytest.mark.parametrize("name", FORMS)
def test_every_form_says_the_same(tmp_path: Path, name: str) -> None:
    said = read(written(tmp_path, name, FORMS[name]))
    assert said.document == {"pull_every_seconds": 30, "metrics": {"host_cpu": {"enabled": False}}}
    assert said.group == Group(selector={"role": "web"}, priority=100)


@pytest.mark.parametrize("name", ["a.toml", "a.yaml"])
def test_an_empty_file_says_nothing(tmp_path: Path, name: str) -> None:
    assert read(written(tmp_path, name, "# nothing\n")).document == {}


def test_null_is_a_value_where_the_form_has_it(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a.yaml", "budget: {cpu_share: null}")).document == {"budget": {"cpu_share": None}}


WRONG: list[tuple[str, str, list[str]]] = [
    ("a.toml", "pull_every_second = 5", ["pull_every_second: there is no such key; did you mean pull_every_seconds?"]),
    ("a.toml", "[metrics.host_cpuu]", ["metrics.host_cpuu: there is no such metric; did you mean host_cpu?"]),
    (
        "a.toml",
        "[metrics.host_cpu]\nevery_second = 5",
        ["metrics.host_cpu.every_second: there is no such key; did you mean every_seconds?"],
    ),
    ("a.toml", 'preset = "standrad"', ["preset: 'standrad' is not one of minimal, standard, exhaustive, rds; did you"]),
    (
        "a.toml",
        'logs.least_severity = "warn"',
        ["logs.least_severity: 'warn' is not one of debug, log, info", "did you mean warning?"],
    ),
    ("a.toml", "upload_every_seconds = 0", ["upload_every_seconds: Input should be greater than or equal to 1, not 0"]),
    ("a.yaml", "upload_every_seconds: '60'", ["upload_every_seconds: Input should be a valid integer, not '60'"]),
    ("a.yaml", "upload_every_seconds: 2026-01-01", ["upload_every_seconds: Input should be a valid integer"]),
    ("a.toml", "budget.cpu_share = nan", ["budget.cpu_share: Input should be less than or equal to 1, not nan"]),
    ("a.yaml", "metrics: [host_cpu]", ["metrics: a table is expected, not ['host_cpu']"]),
    ("a.toml", 'databases.include = ["[a"]', ["databases.include.0: '[a' has a [ that no ] closes"]),
    ("a.toml", "databases.include = []", ["databases.include: at least one pattern is needed"]),
    ("a.toml", 'group.selector = {role = "a b"}', ["group.selector.role: ", "not 'a b'"]),
    ("a.toml", 'group = {selector = {role = "a"}, prio = 3}', ["group.prio: there is no such key; there is selector"]),
    ("a.toml", "pull_every_seconds = \n", ["cannot be read: Invalid value (at line 1"]),
    ("a.yaml", "a: [1", ["cannot be read: ", "(line 1, column "]),
    ("a.json", "", ["cannot be read: Expecting value"]),
    ("a.json", "[]", ["a table of keys is expected, not list"]),
    ("a.json", '{"preset": "minimal", "preset": "rds"}', ["the key preset stands twice"]),
    ("a.yaml", "preset: minimal\npreset: rds\n", ["the key preset stands twice (line 2, column 1)"]),
    ("a.toml", 'preset = "rds"\npreset = "rds"', ["cannot be read: Cannot overwrite a value"]),
    ("a.yaml", "preset: !!python/object/apply:os.getcwd []", ["cannot be read: could not determine a constructor"]),
    ("a.yaml", "a: &a [*a]", ["a: there is no such key"]),
    ("a.yaml", "{" * 5000, ["cannot be read: it is nested too deeply"]),
    ("a.yaml", "1: 2\n", ["1: there is no such key"]),
    ("a.txt", "", ["its name ends in none of .toml, .yaml, .yml, .json"]),
]


@pytest.mark.parametrize(("name", "content", "messages"), WRONG, ids=lambda value: str(value)[:40])
def test_what_is_wrong_is_said_by_file_and_key(tmp_path: Path, name: str, content: str, messages: list[str]) -> None:
    file = written(tmp_path, name, content)
    result = command("config", "validate", file)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"{file}: ")
    for message in messages:
        assert message in line


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    content = 'preset = "x"\nupload_every_seconds = 0\ncolour = "red"\n[group]\nselector = {}\n'
    file = written(tmp_path, "a.toml", content)
    result = command("config", "validate", file)
    said = [line.removeprefix(f"{file}: ").partition(":")[0] for line in result.stderr.splitlines()]
    assert sorted(said) == ["colour", "group.selector", "preset", "upload_every_seconds"]


def test_several_files_and_one_that_is_not_there(tmp_path: Path) -> None:
    good, none = written(tmp_path, "good.toml", FORMS["a.toml"]), tmp_path / "none.toml"
    result = command("config", "validate", good, none)
    assert result.exit_code == 1
    assert result.stdout == f"{good}: good\n"
    assert result.stderr == f"{none}: No such file or directory\n"
    assert command("config", "validate", good).exit_code == 0


def test_as_json(tmp_path: Path) -> None:
    bad = written(tmp_path, "bad.toml", "upload_every_seconds = 0")
    result = command("config", "validate", bad, "--json")
    assert result.exit_code == 1
    (told,) = json.loads(result.stdout)
    assert (told["file"], told["ok"], told["faults"][0]["key"]) == (str(bad), False, "upload_every_seconds")


def test_what_is_no_text_is_said_so(tmp_path: Path) -> None:
    file = tmp_path / "a.toml"
    file.write_bytes(b"\xff\xfe")
    with pytest.raises(FileError, match=r"it is no UTF-8"):
        read(file)
