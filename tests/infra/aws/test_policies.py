"""What may never be in the module, whoever changes it: read from its files, without Terraform's provider."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.infra.aws.module import FOLDER, Body, declared, functions, given, local, parsed, resources, routes, text


def _statements() -> Iterator[tuple[str, Body]]:
    """What is allowed or denied anywhere: in policies, and in what functions may."""
    for name, document in resources("aws_iam_policy_document", "data").items():
        yield from ((name, statement) for statement in document.get("statement", ()))
    for file in parsed():
        for block in file.get("locals", ()):
            yield from ((name, each) for name, each in block.items() if name.startswith("may_"))


def _of_bucket(kind: str) -> dict[str, Body]:
    return {re.sub(r".*aws_s3_bucket\.(\w+).*", r"\1", body["bucket"]): body for body in resources(kind).values()}


def test_no_bucket_is_public() -> None:
    blocked = _of_bucket("aws_s3_bucket_public_access_block")
    assert set(blocked) == set(resources("aws_s3_bucket"))
    for body in blocked.values():
        assert [value for name, value in given(body).items() if "public" in name] == [True] * 4
    assert not resources("aws_s3_bucket_acl")


def test_everything_that_is_kept_is_encrypted() -> None:
    assert set(_of_bucket("aws_s3_bucket_server_side_encryption_configuration")) == set(resources("aws_s3_bucket"))
    assert all(queue["sqs_managed_sse_enabled"] is True for queue in resources("aws_sqs_queue").values())
    assert all("aws_kms_key" in topic["kms_master_key_id"] for topic in resources("aws_sns_topic").values())
    assert all(key["enable_key_rotation"] is True for key in resources("aws_kms_key").values())
    assert all(cluster["storage_encrypted"] is True for cluster in resources("aws_rds_cluster").values())


def test_whatever_goes_over_the_network_is_encrypted() -> None:
    for name in ("bucket", "queue"):
        statements = resources("aws_iam_policy_document", "data")[name]["statement"]
        (tls,) = (each for each in statements if each.get("sid") == "TlsOnly")
        assert tls["effect"] == "Deny"
        assert given(tls["condition"][0])["variable"] == "aws:SecureTransport"
    assert all(proxy["require_tls"] is True for proxy in resources("aws_db_proxy").values())
    (parameter,) = resources("aws_rds_cluster_parameter_group")["store"]["parameter"]
    assert given(parameter) == {"name": "rds.force_ssl", "value": "1"}
    assert "sslmode=verify-full" in local("store_at")
    (names,) = resources("aws_apigatewayv2_domain_name")["this"]["domain_name_configuration"]
    assert names["security_policy"] == "TLS_1_2"


def test_nothing_is_allowed_by_a_wildcard() -> None:
    """An action with an asterisk stands only where it is denied, and so does everybody as a principal."""
    found = list(_statements())
    assert len(found) > 20
    for name, statement in found:
        if statement.get("effect") != "Deny":
            assert not [action for action in statement["actions"] if "*" in action], name
            assert not [who for who in statement.get("principals", ()) if "*" in who["identifiers"]], name


def test_any_resource_stands_with_its_reason_beside_it() -> None:
    lines = [line for line in text().splitlines() if re.search(r'resources += \[.*"\*"', line)]
    assert all(re.search(r"\] # \w", line) for line in lines), lines
    assert len(lines) == len([each for _, each in _statements() if "*" in each.get("resources", ())])


def test_a_service_that_acts_for_us_does_so_for_this_account_alone() -> None:
    """Or for one resource. Roles are given to functions and the proxy by this account alone; the key is a topic's."""
    for name, statement in _statements():
        services = [who for who in statement.get("principals", ()) if who["type"] == "Service"]
        if services and name not in {"lambda", "rds", "alarms_key"}:
            asked = {condition["variable"] for condition in statement.get("condition", ())}
            assert asked & {"aws:SourceAccount", "aws:SourceArn"}, name
    assert all("source_arn" in permission for permission in resources("aws_lambda_permission").values())


def test_nothing_is_reached_from_an_address() -> None:
    for name, rule in resources("aws_vpc_security_group_ingress_rule").items():
        assert "referenced_security_group_id" in rule, name
        assert not {"cidr_ipv4", "cidr_ipv6"} & rule.keys(), name
    (leaving,) = (rule for rule in resources("aws_vpc_security_group_egress_rule").values() if "cidr_ipv4" in rule)
    assert leaving["from_port"] == leaving["to_port"] == 443
    for group in resources("aws_security_group").values():
        assert not {"ingress", "egress"} & group.keys()
    assert all(each["publicly_accessible"] is False for each in resources("aws_rds_cluster_instance").values())


def test_the_store_is_hard_to_lose() -> None:
    (cluster,) = resources("aws_rds_cluster").values()
    assert cluster["deletion_protection"] == "${each.value.protected}"
    assert cluster["skip_final_snapshot"] == "${!each.value.protected}"
    assert cluster["manage_master_user_password"] is True
    said = declared("variable")["database"]["type"]
    assert '"protected": "${optional(bool, true)}"' in said
    (days,) = re.findall(r'"backup_days": "\$\{optional\(number, (\d+)\)', said)
    assert int(days) >= 7


def test_a_message_is_not_seen_again_while_it_is_being_loaded() -> None:
    (loader,) = (function for function in functions() if function.name == "loader")
    seconds = resources("aws_sqs_queue")["batches"]["visibility_timeout_seconds"]
    factor = re.fullmatch(r"\$\{(\d+) \* local\.loader_timeout\}", str(seconds))
    assert factor is not None
    assert int(factor[1]) >= 6
    assert loader.timeout == local("loader_timeout")


def test_functions_end_before_api_gateway_has_given_them_up() -> None:
    timeouts = {function.name: function.timeout for function in functions()}
    assert timeouts["authorizer"] <= 10
    for name in {function for function, _ in routes().values()}:
        assert timeouts[name] < 30, name
    assert max(timeouts.values()) <= 900


def test_every_log_ends_some_day_and_every_function_has_one() -> None:
    groups = resources("aws_cloudwatch_log_group")
    assert all(group["retention_in_days"] == "${var.log_keep_days}" for group in groups.values())
    for_each = {resources("aws_cloudwatch_log_group")["function"]["for_each"]}
    assert for_each == {"${local.functions}"}


@pytest.mark.parametrize("alarm", ["errors", "throttles"])
def test_every_function_has_its_alarms(alarm: str) -> None:
    assert resources("aws_cloudwatch_metric_alarm")[alarm]["for_each"] == "${local.functions}"


def test_every_alarm_is_told_to_somebody() -> None:
    alarms = resources("aws_cloudwatch_metric_alarm")
    assert set(alarms) == {"dead", "behind", "errors", "throttles", "silent"}
    told: list[Any] = [alarm[when] for alarm in alarms.values() for when in ("alarm_actions", "ok_actions")]
    assert set(told) == {"${local.alarm_topics}"}


@pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not on this machine")
def test_files_are_formatted() -> None:
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-diff", str(FOLDER)], capture_output=True, text=True, check=False
    )
    assert done.stdout == ""
    assert done.returncode == 0
