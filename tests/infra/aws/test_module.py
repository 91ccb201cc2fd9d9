"""The module says what the code says: functions, settings, routes, tasks, figures."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path, PurePosixPath

import botocore
import pytest

from contracts.objects import PREFIX
from contracts.routes import ROUTES
from functions.environment import SECRET, secrets, variable
from functions.maintenance.handler import NAMESPACE
from functions.maintenance.tasks import TASKS
from infra.build import FUNCTIONS
from infra.packages import _kept
from tests.infra.aws.module import Function, declared, functions, given, local, resources, routes, text, types

ALL = tuple(functions())


def _named(function: Function) -> str:
    return function.name


def _one(name: str) -> Function:
    (found,) = (function for function in ALL if function.name == name)
    return found


def test_every_artifact_is_used_and_can_be_built() -> None:
    assert {function.artifact for function in ALL} == set(FUNCTIONS)
    assert len(ALL) == 11


@pytest.mark.parametrize("function", ALL, ids=_named)
def test_a_handler_can_be_imported_and_is_in_its_artifact(function: Function) -> None:
    module, _, name = function.handler.rpartition(".")
    assert callable(getattr(import_module(module), name))
    package = "infra.database" if function.artifact == "migrations" else f"functions.{function.artifact}"
    assert module.startswith(f"{package}.")


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
        "PGANALYTICS_STORE_DSN_SECRET": {"may_read_store"},
        "PGANALYTICS_KEYS_SECRET": {"may_read_keys", "may_rotate_keys"},
        "PGANALYTICS_AUTHORITY_SECRET": {"may_read_authority", "may_make_authority"},
    }
    assert {name for name, allowed in may.items() if allowed & function.may} == told


def test_only_the_door_writes_to_the_bucket_and_it_does_not_know_the_store() -> None:
    writers = {function.name: function.may for function in ALL if "may_write_batches" in function.may}
    assert writers == {"ingest": {"may_write_batches"}}


def test_routes_are_those_of_the_contracts() -> None:
    assert routes() == {route.key: (route.function, route.audience is None) for route in ROUTES}


def test_only_who_signs_certificates_reads_their_authority_and_the_authorizer_knows_no_store() -> None:
    assert {function.name for function in ALL if "may_read_authority" in function.may} == {"identity"}
    assert _one("authorizer").may == {"may_read_keys"}


def test_only_the_rotation_writes_secrets_and_it_knows_no_store_and_no_bucket() -> None:
    writers = {function.name: function.may for function in ALL if function.may & {"may_rotate_keys"}}
    assert writers == {"rotation": {"may_rotate_keys", "may_make_authority"}}


def test_tokens_are_bound_where_they_are_given_and_where_they_are_verified() -> None:
    told = {function.name for function in ALL if "PGANALYTICS_BIND_TOKENS" in function.environment}
    assert told == {"authorizer", "identity"}
    assert local("bind_tokens") == "${tostring(var.agent_domain != null)}"


def test_what_hashes_a_password_has_a_rate_of_its_own() -> None:
    told = set(local("guessed"))
    assert told <= {route.key for route in ROUTES}
    assert told == {"POST /v1/auth/login", "PUT /v1/auth/password"}
    (rates,) = resources("aws_apigatewayv2_stage")["default"]["dynamic"]
    assert rates["route_settings"]["for_each"] == "${local.guessed}"


def test_an_answer_of_the_authorizer_is_kept_for_one_token_on_one_route() -> None:
    """And not at all where tokens are bound to certificates: an answer would hold for another one."""
    authorizer = resources("aws_apigatewayv2_authorizer")["tokens"]
    assert authorizer["enable_simple_responses"] is True
    assert authorizer["authorizer_payload_format_version"] == "2.0"
    assert authorizer["identity_sources"] == ["$request.header.Authorization", "$context.routeKey"]
    seconds = authorizer["authorizer_result_ttl_in_seconds"]
    assert seconds == "${var.agent_domain == null ? var.authorizer_cache_seconds : 0}"


def test_the_bucket_tells_of_batches() -> None:
    assert local("batches") == f"{PREFIX}"
    assert resources("aws_s3_bucket_notification")["batches"]["queue"][0]["filter_prefix"] == "${local.batches}"


def test_the_schedule_asks_for_every_task_and_no_other() -> None:
    assert set(given(local("schedules"))) == set(TASKS)
    assert resources("aws_cloudwatch_event_target")["maintenance"]["input"] == '${jsonencode({"task": "${each.key}"})}'


def test_as_many_runs_of_maintenance_as_there_are_tasks_find_a_connection() -> None:
    (runs,) = re.findall(r"'maintenance': (\d+)", local("concurrency"))
    assert int(runs) == len(TASKS)


def test_every_function_with_a_connection_is_bounded() -> None:
    bounded = set(re.findall(r"'(\w+)': ", local("concurrency")))
    connected = {function.name for function in ALL if "PGANALYTICS_STORE_DSN_SECRET" in function.environment}
    # The loader is bounded where it takes from the queue: reserved runs would turn messages back instead.
    assert bounded | {"loader"} == connected
    (mapping,) = resources("aws_lambda_event_source_mapping").values()
    assert mapping["scaling_config"][0]["maximum_concurrency"] == "${var.loader_concurrency}"


def test_releases_are_looked_at_every_minute() -> None:
    assert resources("aws_cloudwatch_event_rule")["release"]["schedule_expression"] == "rate(1 minute)"
    target = resources("aws_cloudwatch_event_target")["release"]
    assert target["arn"] == '${aws_lambda_function.this["release"].arn}'
    assert _one("release").may == {"may_read_store"}


def test_maintenance_ends_before_it_is_ended() -> None:
    """One task's own limit, and the time that what is in hand then may take, are within the function's."""
    (validation,) = declared("variable")["rollup_seconds"]["validation"]
    (limit,) = re.findall(r"var\.rollup_seconds <= (\d+)", validation["condition"])
    assert int(limit) + 60 <= _one("maintenance").timeout <= 900


def test_the_reconciler_sends_to_the_queue_that_the_loader_takes_from() -> None:
    assert _one("reconcile").may == {"may_send_messages", "may_list_batches", "may_read_store"}
    told = local("functions")["reconcile"]["environment"]["PGANALYTICS_QUEUE_URL"]
    assert told == "${aws_sqs_queue.batches.id}"
    (mapping,) = resources("aws_lambda_event_source_mapping").values()
    assert mapping["event_source_arn"] == "${aws_sqs_queue.batches.arn}"


def test_figures_are_looked_for_where_maintenance_tells_them() -> None:
    assert local("figures")["namespace"] == NAMESPACE
    silent = resources("aws_cloudwatch_metric_alarm")["silent"]
    assert silent["metric_name"] == "SilentAgents"
    assert given(silent["dimensions"]) == {"Deployment": "${var.name}"}
    assert local("functions")["maintenance"]["environment"]["PGANALYTICS_DEPLOYMENT"] == "${var.name}"


def test_what_a_deployment_invokes_is_there_before_the_functions_are_new() -> None:
    assert local("invoked") == "${toset([migrations, rotation])}"
    assert "${aws_lambda_invocation.migrations}" in resources("aws_lambda_function")["this"]["depends_on"]
    triggers = resources("aws_lambda_invocation")["migrations"]["triggers"]
    assert triggers["code"] == '${aws_lambda_function.invoked["migrations"].source_code_hash}'


def test_the_authorities_of_the_proxy_s_certificate_are_in_the_artifacts() -> None:
    """Amazon's own are in what botocore brings; Lambda puts an artifact into /var/task."""
    file = PurePosixPath("botocore/cacert.pem")
    assert f"sslrootcert=/var/task/{file}" in local("store_at")
    assert _kept(file)
    assert Path(botocore.__file__).with_name("cacert.pem").read_text().count("Amazon Root CA") >= 4


def test_no_secret_has_a_value_here() -> None:
    assert "aws_secretsmanager_secret_version" not in types("resource")
    assert not re.search(r"\b(master_password|secret_string)\b", text())
    assert set(resources("aws_secretsmanager_secret")) == {"store", "keys", "authority"}


def test_no_provider_but_one() -> None:
    assert set(re.findall(r'source += "(.+)"', text())) == {"hashicorp/aws"}
    assert {kind.partition("_")[0] for kind in types("resource") | types("data")} == {"aws"}


def test_every_variable_and_output_is_described() -> None:
    for name, body in declared("variable").items():
        assert body["description"], name
        free = body["type"] in {"${map(string)}", "bool"} or name in {"artifacts", "bucket"}
        assert free or body["validation"], name
    for name, body in declared("output").items():
        assert body["description"], name


def test_every_variable_is_used() -> None:
    assert set(declared("variable")) == set(re.findall(r"\bvar\.(\w+)", text()))
