"""What no schema can say of a request, put into the requests that schemathesis makes by the schema."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import count
from typing import Any
from urllib.parse import unquote

import urllib3
from schemathesis import Case
from schemathesis.transport.serialization import Binary

from tests.functions.identities import Agent
from tests.infra.standalone.serving import batch

#: Documents as operators save them: of a schema's any object, hardly one is a configuration.
DOCUMENTS: tuple[dict[str, Any], ...] = (
    {},
    {"full_every_seconds": 600},
    {"preset": "standard", "metrics": {"agent_health": {"every_seconds": 60}}},
    {"budget": {"cpu_share": None}, "databases": {"exclude": ["template?"]}},
)

#: The one metric of which any question is a good one: it has counters, and is of the relations of a database.
_METRIC = "table_stats"

_YEAR = datetime.now().astimezone().year


@dataclass
class Sender:
    """What whoever sends a request knows: their tokens, an agent's key, and what the server told them before."""

    url: str
    tokens: Mapping[str, str | None]
    agent: Agent
    enrolment: str
    numbers: count[int] = field(default_factory=lambda: count(1))

    def ask(
        self, who: str, method: str, path: str, body: Any = None, fields: Mapping[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        headers = {"Authorization": f"Bearer {self.tokens[who]}"}
        with urllib3.PoolManager(retries=False, timeout=30) as pool:
            if body is None:
                return pool.request(method, self.url + path, fields=fields, headers=headers)
            return pool.request(method, self.url + path, json=body, headers=headers)

    def prepare(self, case: Case[Any]) -> None:
        """Make a request that is right by the schema one that is right."""
        for part in (case.body, case.query, case.path_parameters):
            _write_whole(part)
        if case.query and "cursor" in case.query:
            self._turn_pages(case)
        prepare = _PREPARE.get(case.operation.label)
        if prepare:
            prepare(self, case)

    def _turn_pages(self, case: Case[Any]) -> None:
        """A cursor is one that the route gave; of a single page there is none."""
        asked = {name: str(value) for name, value in case.query.items() if name != "cursor"}
        page = json.loads(self.ask("admin", "GET", case.formatted_path, fields={**asked, "limit": "1"}).data)
        del case.query["cursor"]
        if page.get("next"):
            case.query["cursor"] = page["next"]

    def etag(self, scope: str) -> str | None:
        return self.ask("admin", "GET", f"/v1/documents/{scope}").headers.get("ETag")


def _write_whole(found: object) -> None:
    """To a schema 1.0 is an integer; here an integer is one by how it is written."""
    if isinstance(found, dict | list):
        for key, value in list(found.items() if isinstance(found, dict) else enumerate(found)):
            if isinstance(value, float) and value.is_integer():
                found[key] = int(value)
            _write_whole(value)


def _body(case: Case[Any]) -> dict[str, Any]:
    assert isinstance(case.body, dict)
    return case.body


def _enrol(sender: Sender, case: Case[Any]) -> None:
    case.headers["Authorization"] = f"Bearer {sender.enrolment}"
    _body(case)["csr"] = Agent(f"new-{next(sender.numbers)}").csr()


def _renew(sender: Sender, case: Case[Any]) -> None:
    _body(case)["csr"] = sender.agent.csr()


def _send_batch(sender: Sender, case: Case[Any]) -> None:
    assert isinstance(case.body, Binary)
    case.body.data = batch(agent_id=sender.agent.name)


def _ask_to_upload(_: Sender, case: Case[Any]) -> None:
    _body(case)["sent_at"] = time.time_ns() // 1000
    _body(case)["size_bytes"] = 1 + _body(case)["size_bytes"] % 1_000_000


def _document(sender: Sender, case: Case[Any]) -> None:
    _body(case)["document"] = DOCUMENTS[next(sender.numbers) % len(DOCUMENTS)]


def _save(sender: Sender, case: Case[Any]) -> None:
    """A group's document comes with whom it is for, and no other; whoever saves has seen what they change."""
    _document(sender, case)
    scope = unquote(case.path_parameters["scope"])
    group = _body(case).pop("group", None)
    if scope.startswith("group:"):
        _body(case)["group"] = group or {"selector": {"environment": "production"}}
    _have_seen(sender, case)


def _roll_back(sender: Sender, case: Case[Any]) -> None:
    _body(case)["version"] = 1
    _have_seen(sender, case)


def _release(_: Sender, case: Case[Any]) -> None:
    """In the end everybody is given the version."""
    if "stages" in _body(case):
        _body(case)["stages"] = [*_body(case)["stages"][:1], "100%"]


def _have_seen(sender: Sender, case: Case[Any]) -> None:
    for header in ("if-match", "if-none-match"):
        case.headers.pop(header, None)
    etag = sender.etag(case.path_parameters["scope"])
    if etag is not None:
        case.headers["if-match"] = etag


def _ask_of_a_metric(_: Sender, case: Case[Any]) -> None:
    if case.query["metric"] != _METRIC:
        for name in ("values", "datid", "relid"):
            case.query.pop(name, None)
    _bound(case, "from", "until")


def _ask_of_coverage(_: Sender, case: Case[Any]) -> None:
    _bound(case, "from", "to")


def _bound(case: Case[Any], first: str, last: str) -> None:
    """Of two instants the first is earlier, and not long before."""
    if last in case.query:
        end = datetime.fromisoformat(case.query[last]).replace(year=_YEAR)
    elif first in case.query:
        end = datetime.fromisoformat(case.query[first]).replace(year=_YEAR)
    else:
        return
    case.query[last] = end.isoformat()
    if first in case.query:
        case.query[first] = (end - timedelta(hours=1)).isoformat()


_PREPARE: Mapping[str, Callable[[Sender, Case[Any]], None]] = {
    "POST /v1/agents": _enrol,
    "POST /v1/certificate": _renew,
    "POST /v1/batches": _send_batch,
    "POST /v1/uploads": _ask_to_upload,
    "POST /v1/documents/validate": _document,
    "PUT /v1/documents/{scope}": _save,
    "POST /v1/documents/{scope}/rollback": _roll_back,
    "POST /v1/releases": _release,
    "GET /v1/targets/{id}/metrics": _ask_of_a_metric,
    "GET /v1/agents/{id}/coverage": _ask_of_coverage,
}
