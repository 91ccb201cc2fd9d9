from __future__ import annotations

import re
import shutil
import subprocess
from importlib import import_module

import pytest

from contracts.objects import PREFIX
from contracts.routes import ROUTES
from functions.environment import SECRET, secrets, variable
from functions.maintenance.tasks import TASKS
from infra.build import FUNCTIONS
from tests.infra.aws.module import FOLDER, Function, blocks, functions, routes, text

ALL = tuple(functions())


def _named(function: Function) -> str:
    return function.name


def test_every_artifact_is_used_and_can_be_built() -> None:
    assert {function.artifact for function in ALL} == set(FUNCTIONS)
    assert len(ALL) == 9


@pytest.mark.parametrize("function", ALL, ids=_named)
def test_a_handler_can_be_imported_and_is_in_its_artifact(function: Function) -> None:
    module, _, name = function.handler.rpartition(".")
    assert callable(getattr(import_module(module), name))
    assert module.startswith(f"functions.{function.artifact}.")


@pytest.mark.parametrize("function", ALL, ids=_named)
def test_the_environment_is_what_the_function_reads(function: Function) -> None:
    model = function.settings
    hidden = {variable(name) + SECRET for name in secrets(model)}
    plain = {variable(name) for name in model.model_fields if name not in secrets(model)}
    assert function.environment <= hidden | plain
    needed = {name for name, field in model.model_fields.items() if field.is_required()}
    assert {variable(name) + SECRET * (name in secrets(model)) for name in needed} <= function.environment


@pytest.mark.parametrize("function", ALL, ids=_named)
def test_a_function_may_read_the_secrets_it_is_told_of_and_no_other(function: Function) -> None:
    told = {name for name in function.environment if name.endswith(SECRET)}
    may = {
        "PGANALYTICS_STORE_DSN_SECRET": "may_read_store" in function.may,
        "PGANALYTICS_KEYS_SECRET": "may_read_keys" in function.may,
        "PGANALYTICS_AUTHORITY_SECRET": "may_read_authority" in function.may,
    }
    assert {name for name, allowed in may.items() if allowed} == told


def test_only_the_door_writes_to_the_bucket_and_it_does_not_know_the_store() -> None:
    writers = {function.name: function.may for function in ALL if "may_write_batches" in function.may}
    assert writers == {"ingest": {"may_write_batches"}}


def test_routes_are_those_of_the_contracts() -> None:
    assert routes() == {route.key: (route.function, route.audience is None) for route in ROUTES}


def test_only_who_signs_certificates_reads_their_authority_and_the_authorizer_knows_no_store() -> None:
    assert {function.name for function in ALL if "may_read_authority" in function.may} == {"identity"}
    (authorizer,) = (function for function in ALL if function.name == "authorizer")
    assert authorizer.may == {"may_read_keys"}


def test_tokens_are_bound_where_they_are_given_and_where_they_are_verified() -> None:
    told = {function.name for function in ALL if "PGANALYTICS_BIND_TOKENS" in function.environment}
    assert told == {"authorizer", "identity"}
    assert "bind_tokens = tostring(var.agent_domain != null)" in text()


def test_what_hashes_a_password_has_a_rate_of_its_own() -> None:
    (guessed,) = re.findall(r"guessed = \[(.*)\]", text())
    routes_told = re.findall(r'"(.*?)"', guessed)
    assert set(routes_told) <= {route.key for route in ROUTES}
    hashing = {"POST /v1/auth/login", "PUT /v1/auth/password"}
    assert set(routes_told) == hashing
    assert "route_settings.value" in blocks('resource "aws_apigatewayv2_stage"')["default"]


def test_the_authorizer_answers_for_one_route_at_a_time() -> None:
    authorizer = blocks('resource "aws_apigatewayv2_authorizer"')["tokens"]
    assert re.search(r"enable_simple_responses += true", authorizer)
    assert re.search(r'authorizer_payload_format_version += "2.0"', authorizer)
    assert re.search(r"authorizer_result_ttl_in_seconds += 0\b", authorizer)


def test_nothing_is_allowed_by_a_wildcard() -> None:
    """An action with an asterisk stands only where it is denied."""
    for actions in re.finditer(r"actions += \[([^\]]*)\]", text()):
        if "*" in actions[1]:
            assert re.search(r'effect += "Deny"\s*$', text()[: actions.start()]), actions[0]
    open_resources = re.findall(r'(\w+) = {\n    actions = \[[^\]]*\]\n    resources = \["\*"\]', text())
    assert open_resources == ["may_join_network"]


def test_a_message_is_not_seen_again_while_it_is_being_loaded() -> None:
    queue = blocks('resource "aws_sqs_queue"')["batches"]
    factor = re.search(r"visibility_timeout_seconds += (\d+) \* local\.loader_timeout", queue)
    assert factor is not None
    assert int(factor[1]) >= 6
    assert re.search(r"timeout += local\.loader_timeout", text())


def test_the_bucket_tells_of_batches() -> None:
    assert f'batches = "{PREFIX}"' in text()


def test_the_schedule_asks_for_every_task_and_no_other() -> None:
    entries = text().partition("\n  schedules = {\n")[2].partition("\n  }\n")[0]
    assert set(re.findall(r"^    (\w+) = {", entries, re.MULTILINE)) == set(TASKS)
    assert "jsonencode({ task = each.key })" in blocks('resource "aws_cloudwatch_event_target"')["maintenance"]


def test_releases_are_looked_at_every_minute() -> None:
    rule = blocks('resource "aws_cloudwatch_event_rule"')["release"]
    assert re.search(r'schedule_expression += "rate\(1 minute\)"', rule)
    target = blocks('resource "aws_cloudwatch_event_target"')["release"]
    assert 'aws_lambda_function.this["release"].arn' in target
    (release,) = (function for function in ALL if function.name == "release")
    assert release.may == {"may_read_store"}


def test_maintenance_ends_before_it_is_ended() -> None:
    """One task's own limit, and the time that what is in hand then may take, are within the function's."""
    (limit,) = re.findall(r"var\.rollup_seconds <= (\d+)", blocks("variable")["rollup_seconds"])
    (timeout,) = re.findall(r"maintenance = {.*?timeout +(?:=) (\d+)", text(), re.DOTALL)
    assert int(limit) + 60 <= int(timeout) <= 900


def test_the_reconciler_sends_to_the_queue_that_the_loader_takes_from() -> None:
    (reconcile,) = (function for function in ALL if function.name == "reconcile")
    assert reconcile.may == {"may_send_messages", "may_list_batches", "may_read_store"}
    assert re.search(r"PGANALYTICS_QUEUE_URL += aws_sqs_queue.batches.id\b", text())
    (source,) = re.findall(r"event_source_arn += (\S+)", text())
    assert source == "aws_sqs_queue.batches.arn"


def test_no_secret_has_a_value_here() -> None:
    assert "aws_secretsmanager_secret_version" not in text()
    assert set(blocks('resource "aws_secretsmanager_secret"')) == {"store", "keys", "authority"}


def test_no_provider_but_one() -> None:
    assert set(re.findall(r'source += "(.+)"', text())) == {"hashicorp/aws"}
    assert {kind.partition("_")[0] for kind in re.findall(r'^(?:resource|data) "(\w+)"', text(), re.MULTILINE)} == {
        "aws"
    }


def test_every_variable_and_output_is_described() -> None:
    for name, body in blocks("variable").items():
        assert re.search(r"^  description = \"", body, re.MULTILINE), name
        assert re.search(r"^  type +=", body, re.MULTILINE), name
        typed = re.search(r"^  type += (.*)", body, re.MULTILINE)
        assert typed is not None
        free = typed[1] == "map(string)" or name in {"artifacts", "bucket"}
        assert free or "validation {" in body, name
    for name, body in blocks("output").items():
        assert "description = " in body, name


def test_every_variable_is_used() -> None:
    assert set(blocks("variable")) == set(re.findall(r"\bvar\.(\w+)", text()))


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not on this machine")
def test_files_are_formatted() -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", str(FOLDER)], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert done.returncode == 0
