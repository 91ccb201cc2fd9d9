from __future__ import annotations

import hashlib
import json
import platform
import re
import subprocess
import sys
import threading
import zipfile
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from contracts.version import __version__
from functions.authorizer.keys import Keys, dump, generate
from functions.authorizer.tokens import issue
from infra.build import FUNCTIONS, ROOT, SERVICES
from tests.functions.events import agent_claims, request

BUILT = ("authorizer", "query")
PYTHON = ".".join(map(str, sys.version_info[:2]))
ARCH = "arm64" if platform.machine() in {"aarch64", "arm64"} else "x86_64"

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="artifacts have Linux's wheels: they run on Linux")


def _build(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "infra.build", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def _built(out: Path) -> dict[str, dict[str, Any]]:
    done = _build(*BUILT, "--arch", ARCH, "--python", PYTHON, "--out", str(out), "--json")
    assert done.returncode == 0, done.stderr
    return {each["function"]: each for each in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return _built(tmp_path_factory.mktemp("first"))


@pytest.fixture(scope="module")
def unzipped(first: dict[str, dict[str, Any]], tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("unzipped")
    for name, artifact in first.items():
        with zipfile.ZipFile(artifact["path"]) as zipped:
            zipped.extractall(folder / name)
    return {name: folder / name for name in first}


def _call(
    folder: Path, handler: str, event: dict[str, Any], environment: dict[str, str] | None = None
) -> dict[str, Any]:
    """Call the handler in a Python that has its standard library and the artifact, and nothing else."""
    code = (
        "import sys, json, importlib; sys.path.append(sys.argv[1]); "
        "print(json.dumps(importlib.import_module(sys.argv[2]).handler(json.load(sys.stdin), None)))"
    )
    command = [sys.executable, "-I", "-S", "-c", code, str(folder), handler]
    done = subprocess.run(
        command, input=json.dumps(event), capture_output=True, text=True, check=True, env=environment or {}
    )
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def test_the_same_sources_give_the_same_bytes(first: dict[str, dict[str, Any]], tmp_path: Path) -> None:
    again = _built(tmp_path)
    assert {name: each["sha256"] for name, each in again.items()} == {
        name: each["sha256"] for name, each in first.items()
    }
    for artifact in again.values():
        data = Path(artifact["path"]).read_bytes()
        assert (hashlib.sha256(data).hexdigest(), len(data)) == (artifact["sha256"], artifact["bytes"])


def test_the_query_function_answers_from_its_artifact_alone(unzipped: dict[str, Path]) -> None:
    answer = _call(unzipped["query"], "functions.query.handler", request("GET", "/v1/version"))
    assert answer["statusCode"] == 200
    assert json.loads(answer["body"]) == {"version": __version__}


def test_the_api_describes_itself_from_the_artifact(unzipped: dict[str, Path]) -> None:
    answer = _call(unzipped["query"], "functions.query.handler", request("GET", "/v1/openapi.json"))
    assert json.loads(answer["body"])["info"]["version"] == __version__


def test_the_authorizer_denies_from_its_artifact_alone(unzipped: dict[str, Path]) -> None:
    answer = _call(unzipped["authorizer"], "functions.authorizer.handler", request("GET", "/v1/config"))
    assert answer == {"isAuthorized": False, "context": {}}


def test_agents_and_operators_are_answered_from_the_same_artifact(unzipped: dict[str, Path]) -> None:
    """What signs certificates and hashes passwords is compiled, and has to be for Lambda's machine."""
    event = request("POST", "/v1/auth/login", headers={"content-type": "application/json"}, body=b"{}")
    answer = _call(unzipped["authorizer"], "functions.authorizer.door", event)
    assert (answer["statusCode"], "body.name" in answer["body"]) == (422, True)


def test_artifacts_are_small_enough_to_be_uploaded_as_they_are(first: dict[str, dict[str, Any]]) -> None:
    assert all(each["bytes"] < 50 * 1024 * 1024 for each in first.values())


class _SecretsManager(BaseHTTPRequestHandler):
    """Answers every call with one secret."""

    secret = ""

    def do_POST(self) -> None:
        answer = json.dumps({"Name": "keys", "SecretString": self.secret}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


def test_the_sdk_of_the_artifact_reads_secrets(unzipped: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    keys = Keys((generate(),))
    monkeypatch.setattr(_SecretsManager, "secret", dump(keys.all))
    with HTTPServer(("127.0.0.1", 0), _SecretsManager) as server:
        threading.Thread(target=server.handle_request, daemon=True).start()
        environment = {
            "PGANALYTICS_KEYS_SECRET": "keys",
            "AWS_ENDPOINT_URL_SECRETS_MANAGER": f"http://127.0.0.1:{server.server_port}",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
        }
        headers = {"authorization": f"Bearer {issue(agent_claims(), keys)}"}
        event = request("GET", "/v1/config", headers=headers)
        answer = _call(unzipped["authorizer"], "functions.authorizer.handler", event, environment)
    assert answer["isAuthorized"] is True


@pytest.mark.parametrize("function", BUILT)
def test_an_artifact_has_its_function_and_no_other(first: dict[str, dict[str, Any]], function: str) -> None:
    with zipfile.ZipFile(first[function]["path"]) as zipped:
        entries = zipped.infolist()
    names = [entry.filename for entry in entries]
    assert names == sorted(names)
    assert {name.split("/")[1] for name in names if re.match(r"functions/\w+/", name)} == {function}
    assert not [name for name in names if re.search(r"__pycache__|(^|/)tests/|^(agent|cli|infra|bin)/|/RECORD$", name)]
    assert sum(entry.file_size for entry in entries) == first[function]["unzipped_bytes"]


def test_the_sdk_keeps_the_services_that_the_functions_call() -> None:
    sources = [path.read_text() for path in (ROOT / "functions").rglob("*.py")]
    called = {name for text in sources for name in re.findall(r'boto3\.client\(\s*"(\w+)"', text)}
    assert called == set(SERVICES)


def test_every_function_has_an_artifact() -> None:
    functions = {path.parent.name for path in (ROOT / "functions").glob("*/__init__.py")}
    assert set(FUNCTIONS) == functions | {"migrations"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("nothing",), "there is no function nothing; there are authorizer"),
        (("query", "--python", "2.7"), "--python: 2.7"),
        (("query", "--arch", "vax"), "arm64"),
    ],
)
def test_a_wrong_word_is_named(arguments: tuple[str, ...], message: str) -> None:
    done = _build(*arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert done.stdout == ""
