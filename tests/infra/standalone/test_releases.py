"""A real server moves a release on by its clock; that it died and was started anew in the middle changes nothing."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from infra.standalone.embedded import EmbeddedPostgres
from tests.infra.standalone.serving import Serving, new_store, serving, until

pytestmark = pytest.mark.processes


class _Operator:
    def __init__(self, running: Serving) -> None:
        self._running = running
        token = running.token("--operator", "ann", "--role", "operator")
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        answer = self._running.request(method, path, data, self._headers)
        assert answer.status in {200, 201}, answer.data
        return answer.json()


def test_a_release_survives_the_death_of_the_server(tmp_path: Path, server: EmbeddedPostgres) -> None:
    store = new_store(server)
    draft = {"document": {"upload_every_seconds": 30}, "activate": False}
    with serving(tmp_path, store) as running:
        operator = _Operator(running)
        operator.ask("PUT", "/v1/documents/agent:db-1", draft)
        release = operator.ask("POST", "/v1/releases", {"scope": "agent:db-1", "stages": ["canary", "100%"]})
        running.stop(signal.SIGKILL)
    with serving(tmp_path, store) as running:
        operator = _Operator(running)
        path = f"/v1/releases/{release['id']}"
        until(lambda: bool(operator.ask("GET", path)["state"] == "done"))
        events = operator.ask("GET", path)["events"]
        assert [each["event"] for each in events if each["event"] != "measured"] == ["started", "stage", "done"]
        assert operator.ask("GET", "/v1/documents/agent:db-1")["live"] is True
