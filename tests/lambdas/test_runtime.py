"""The stand-in for Lambda, shown by functions that do what no function should."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from tests.lambdas.artifacts import ONLY_LINUX
from tests.lambdas.runtime import CLIENT, Deployed, FunctionError, running, runtime_client

pytestmark = [pytest.mark.processes, ONLY_LINUX]

_SOURCE = """
import os, sys, threading

def handler(event, context):
    match event:
        case "raise":
            raise ValueError("what it says")
        case "hang":
            threading.Event().wait()
        case "exit":
            os._exit(3)
        case "path":
            return [sys.path, sorted(name for name in os.environ if name.startswith("PG"))]
        case "context":
            return [context.aws_request_id, context.function_name, context.get_remaining_time_in_millis()]
    print("it was asked for", event)
    return {"event": event, "é": None}
"""


@pytest.fixture
def task(tmp_path: Path) -> Path:
    folder = tmp_path / "task"
    folder.mkdir()
    (folder / "function.py").write_text(_SOURCE)
    (folder / "broken.py").write_text("import nothing_of_this_name\n")
    return folder


def test_a_function_answers_and_is_told_of_itself(task: Path) -> None:
    with running(Deployed(task, "function.handler", {}, name="it", timeout_seconds=20)) as function:
        assert function.invoke({"ü": [1, None]}) == {"event": {"ü": [1, None]}, "é": None}
        id_, name, left_ms = function.invoke("context")
        assert (id_.endswith("2"), name) == (True, "it")
        assert 10_000 < left_ms <= 20_000
        assert "it was asked for" in function.log


def test_nothing_is_on_its_path_but_artifact_runtime_and_standard_library(
    task: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGANALYTICS_STORE_DSN", "of the tests")
    with running(Deployed(task, "function.handler", {})) as function:
        path, variables = function.invoke("path")
    assert path[:2] == [str(task), str(runtime_client())]
    assert all(place.startswith(sys.base_prefix) and "-packages" not in place for place in path[2:])
    assert variables == []
    found = {each.name.partition("-")[0] for each in runtime_client().iterdir() if each.name.endswith(".dist-info")}
    assert found == {name.replace("-", "_") for name in CLIENT}
    assert not list(task.rglob("*.pyc"))


def test_an_error_is_told_and_the_next_event_is_answered(task: Path) -> None:
    with running(Deployed(task, "function.handler", {})) as function:
        with pytest.raises(FunctionError) as caught:
            function.invoke("raise")
        assert (caught.value.kind, caught.value.message) == ("ValueError", "what it says")
        assert function.invoke(1)["event"] == 1


def test_a_function_that_hangs_is_ended_at_its_time(task: Path) -> None:
    with running(Deployed(task, "function.handler", {}, timeout_seconds=1)) as function:
        function.invoke(1)
        with pytest.raises(FunctionError, match=r"Sandbox\.Timedout"):
            function.invoke("hang")


def test_a_function_that_ends_is_told(task: Path) -> None:
    with (
        running(Deployed(task, "function.handler", {})) as function,
        pytest.raises(FunctionError, match=r"Runtime\.ExitError: exited with 3"),
    ):
        function.invoke("exit")


@pytest.mark.parametrize(
    ("handler", "kind"),
    [("broken.handler", "ImportModuleError"), ("function.none", "HandlerNotFound"), ("function", "Malformed")],
)
def test_a_handler_that_is_not_there_is_told(task: Path, handler: str, kind: str) -> None:
    with running(Deployed(task, handler, {})) as function, pytest.raises(FunctionError, match=kind):
        function.invoke(json.loads("{}"))
