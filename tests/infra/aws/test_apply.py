"""The module, really applied by Terraform, to moto in the place of AWS; one file, for one account serves them all."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from moto.apigatewayv2.models import DomainName

from contracts.routes import ROUTES
from functions.authorizer.authority import create
from functions.authorizer.authority import load as load_authority
from functions.authorizer.authority import parse as parse_authority
from functions.authorizer.keys import Keys, dump
from functions.authorizer.keys import parse as parse_keys
from functions.authorizer.rotation import ROTATION_SECONDS, fresh
from functions.authorizer.tokens import issue, verify
from functions.ingest.loader import object_keys
from functions.maintenance.tasks import TASKS
from tests.ansible.options import AGENT, specified
from tests.functions.events import agent_claims
from tests.infra.aws.account import NEEDS_TERRAFORM, Account, begin, moto
from tests.infra.aws.module import functions, zips

pytest.importorskip("flask", reason="moto's server needs flask and flask-cors")

pytestmark = [pytest.mark.processes, *NEEDS_TERRAFORM]

_USUAL = """
  bucket_keep_days = 400
  bucket_cold      = { after_days = 30 }
  alarm_emails     = ["dba@example.org"]
  tags             = { Team = "databases" }
"""

#: What a deployment may have besides: names of its own, client certificates, a store that the module makes.
_MORE = """
  database = {
    vpc_id     = "%(vpc)s"
    subnet_ids = ["%(subnets)s"]
    reached_by = ["%(group)s"]
  }
  concurrency = null
  domain = {
    name            = "pganalytics.example.org"
    certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/open"
  }
  agent_domain = {
    name            = "agents.example.org"
    certificate_arn = "arn:aws:acm:eu-central-1:123456789012:certificate/agents"
    authorities     = file("authorities.pem")
  }
"""


@pytest.fixture(scope="module")
def account(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Account]:
    folder, artifacts = tmp_path_factory.mktemp("root"), zips(tmp_path_factory.mktemp("artifacts"))
    (folder / "authorities.pem").write_text(load_authority(_authority(folder / "authority.pem")).pem)
    with moto() as served:
        made = begin(served, folder, artifacts)
        made.made = made.apply(_USUAL)
        yield made


def _authority(file: Path) -> Path:
    file.touch(0o600)
    file.write_text(create("fleet", 30, datetime.now(UTC)))
    return file


def test_the_bucket_is_closed_encrypted_and_keeps_versions(account: Account) -> None:
    s3, bucket = account.client("s3"), account.made["bucket"]
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["ApplyServerSideEncryptionByDefault"]["SSEAlgorithm"] == "AES256"
    statements = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    denied = {each["Sid"]: (each["Action"], each["Condition"]) for each in statements if each["Effect"] == "Deny"}
    assert denied == {
        "TlsOnly": ("s3:*", {"Bool": {"aws:SecureTransport": "false"}}),
        "CreateOnly": ("s3:PutObject", {"Null": {"s3:if-none-match": "true"}}),
    }
    tags = {tag["Key"]: tag["Value"] for tag in s3.get_bucket_tagging(Bucket=bucket)["TagSet"]}
    assert tags == {"Application": "pganalytics", "Deployment": "pganalytics", "Team": "databases"}


def test_batches_become_cheap_and_then_go(account: Account) -> None:
    found = account.client("s3").get_bucket_lifecycle_configuration(Bucket=account.made["bucket"])["Rules"]
    rules = {rule["ID"]: rule for rule in found}
    assert rules["batches"]["Filter"] == {"Prefix": "batches/v1/"}
    assert rules["batches"]["Transitions"] == [{"Days": 30, "StorageClass": "GLACIER_IR"}]
    assert rules["batches"]["Expiration"]["Days"] == 400
    assert "Transitions" not in rules["leftovers"]


def test_nothing_is_changed_by_a_second_plan_but_what_moto_tells_otherwise(account: Account) -> None:
    """It gives the redrive policy back with other white space, and the queue's policy names the queue."""
    assert account.changes() <= {f"module.pganalytics.aws_sqs_queue{kind}.batches" for kind in ("", "_policy")}


def test_what_is_given_up_is_kept_as_a_dead_letter(account: Account) -> None:
    redrive = json.loads(account.queue("queue_url")["RedrivePolicy"])
    assert redrive["deadLetterTargetArn"] == account.queue("dead_queue_url")["QueueArn"]
    assert int(redrive["maxReceiveCount"]) == 100
    kept = [int(account.queue(output)["MessageRetentionPeriod"]) for output in ("queue_url", "dead_queue_url")]
    assert kept[0] < kept[1]


def test_the_loader_takes_from_the_queue_and_answers_message_by_message(account: Account) -> None:
    functions = account.client("lambda")
    (mapping,) = functions.list_event_source_mappings()["EventSourceMappings"]
    assert mapping["EventSourceArn"] == account.queue("queue_url")["QueueArn"]
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    loader = functions.get_function_configuration(FunctionName=account.made["functions"]["loader"])
    assert mapping["FunctionArn"] == loader["FunctionArn"]
    assert int(account.queue("queue_url")["VisibilityTimeout"]) >= 6 * loader["Timeout"]


@contextmanager
def _only_the_way_to_the_queue(account: Account) -> Iterator[None]:
    """Without what moto would do otherwise: its loader takes messages, and a policy denies whatever its condition."""
    s3, functions, bucket = account.client("s3"), account.client("lambda"), account.made["bucket"]
    policy = s3.get_bucket_policy(Bucket=bucket)["Policy"]
    (mapping,) = functions.list_event_source_mappings()["EventSourceMappings"]
    functions.update_event_source_mapping(UUID=mapping["UUID"], Enabled=False)
    s3.delete_bucket_policy(Bucket=bucket)
    yield
    s3.put_bucket_policy(Bucket=bucket, Policy=policy)


def test_a_new_batch_is_told_to_the_queue_and_other_objects_are_not(account: Account) -> None:
    s3, sqs, bucket, queue = (
        account.client("s3"),
        account.client("sqs"),
        account.made["bucket"],
        account.made["queue_url"],
    )
    key = "batches/v1/agent=db-1/dt=2026-01-01/batch.json.gz"
    with _only_the_way_to_the_queue(account):
        sqs.purge_queue(QueueUrl=queue)
        s3.put_object(Bucket=bucket, Key="elsewhere/batch.json.gz", Body=b"")
        s3.put_object(Bucket=bucket, Key=key, Body=b"")
        told = sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10, WaitTimeSeconds=5)["Messages"]
    assert [each for message in told for each in object_keys(message["Body"])] == [key]


def test_functions_are_told_names_of_secrets_and_no_values(account: Account) -> None:
    client = account.client("lambda")
    for function in functions():
        found = client.get_function_configuration(FunctionName=account.made["functions"][function.name])
        variables = found["Environment"]["Variables"]
        assert variables.keys() == function.environment - {"PGANALYTICS_STORE_AT"}  # the store is not ours yet
        assert (found["Handler"], found["Runtime"], found["Architectures"]) == (
            function.handler,
            "python3.13",
            ["arm64"],
        )
        for name, value in variables.items():
            if name.endswith("_SECRET"):
                assert value in {account.made[f"{secret}_secret"] for secret in ("store", "keys", "authority")}
    assert client.get_function_configuration(FunctionName=account.made["functions"]["ingest"])["Environment"][
        "Variables"
    ] == {"PGANALYTICS_BUCKET_URL": f"s3://{account.made['bucket']}"}


def test_every_function_has_a_role_of_its_own_that_names_what_it_may(account: Account) -> None:
    iam = account.client("iam")
    allowed: dict[str, set[str]] = {}
    for name, function in account.made["functions"].items():
        statements = iam.get_role_policy(RoleName=function, PolicyName="function")["PolicyDocument"]["Statement"]
        for statement in statements:
            assert statement["Resource"] != "*"
            actions = statement["Action"]
            allowed.setdefault(name, set()).update([actions] if isinstance(actions, str) else actions)
    logs = {"logs:CreateLogStream", "logs:PutLogEvents"}
    read_secret = logs | {"secretsmanager:GetSecretValue"}
    take = {"sqs:ReceiveMessage", "sqs:DeleteMessage", "sqs:GetQueueAttributes"}
    assert allowed == {
        "authorizer": read_secret,
        "identity": read_secret,
        "ingest": logs | {"s3:PutObject"},
        "loader": read_secret | take | {"s3:GetObject", "s3:ListBucket"},
        "reconcile": read_secret | {"sqs:SendMessage", "sqs:GetQueueAttributes", "s3:ListBucket"},
        "config": read_secret,
        "release": read_secret,
        "query": read_secret,
        "maintenance": read_secret,
        "migrations": read_secret,
        "rotation": read_secret
        | {f"secretsmanager:{name}" for name in ("DescribeSecret", "PutSecretValue", "UpdateSecretVersionStage")},
    }


def test_the_api_has_the_routes_and_the_authorizer_before_them(account: Account) -> None:
    client = account.client("apigatewayv2")
    (api,) = client.get_apis()["Items"]
    found = {route["RouteKey"]: route for route in client.get_routes(ApiId=api["ApiId"])["Items"]}
    (authorizer_id,) = {route["AuthorizerId"] for route in found.values() if "AuthorizerId" in route}
    assert {key: (route["AuthorizationType"], route.get("AuthorizerId")) for key, route in found.items()} == {
        route.key: ("CUSTOM", authorizer_id) if route.audience else ("NONE", None) for route in ROUTES
    }
    authorizer = client.get_authorizer(ApiId=api["ApiId"], AuthorizerId=authorizer_id)
    assert authorizer["EnableSimpleResponses"] is True
    assert "pganalytics-authorizer" in authorizer["AuthorizerUri"]
    assert set(authorizer["IdentitySource"]) == {"$request.header.Authorization", "$context.routeKey"}
    assert authorizer["AuthorizerResultTtlInSeconds"] == 60


def test_logins_have_a_rate_of_their_own(account: Account) -> None:
    client = account.client("apigatewayv2")
    (api,) = client.get_apis()["Items"]
    settings = client.get_stage(ApiId=api["ApiId"], StageName="$default")["RouteSettings"]
    rates = {route: (each["ThrottlingRateLimit"], each["ThrottlingBurstLimit"]) for route, each in settings.items()}
    assert rates == {"POST /v1/auth/login": (10, 10), "PUT /v1/auth/password": (10, 10)}


def test_logs_do_not_stay_for_ever(account: Account) -> None:
    groups = account.client("logs").describe_log_groups()["logGroups"]
    assert len(groups) == len(account.made["functions"]) + 1
    assert {group["retentionInDays"] for group in groups} == {30}


def test_maintenance_is_done_by_the_clock(account: Account) -> None:
    for task in TASKS:
        (target,) = account.client("events").list_targets_by_rule(Rule=f"pganalytics-{task}")["Targets"]
        assert json.loads(target["Input"]) == {"task": task}
        assert target["Arn"].endswith(":function:pganalytics-maintenance")


def test_what_was_left_behind_is_queued_by_the_clock(account: Account) -> None:
    (target,) = account.client("events").list_targets_by_rule(Rule="pganalytics-reconcile")["Targets"]
    assert json.loads(target["Input"]) == {}
    assert target["Arn"].endswith(":function:pganalytics-reconcile")
    variables = account.client("lambda").get_function_configuration(FunctionName="pganalytics-reconcile")
    assert variables["Environment"]["Variables"]["PGANALYTICS_QUEUE_URL"] == account.made["queue_url"]


def test_releases_are_looked_at_by_the_clock(account: Account) -> None:
    (target,) = account.client("events").list_targets_by_rule(Rule="pganalytics-release")["Targets"]
    assert target["Arn"].endswith(":function:pganalytics-release")


def test_functions_hold_no_more_connections_than_are_told(account: Account) -> None:
    client, runs = account.client("lambda"), {}
    for name, function in account.made["functions"].items():
        found = client.get_function_concurrency(FunctionName=function).get("ReservedConcurrentExecutions")
        if found is not None:
            runs[name] = found
    (mapping,) = client.list_event_source_mappings()["EventSourceMappings"]
    loaders = mapping["ScalingConfig"]["MaximumConcurrency"]
    connected = {function.name for function in functions() if "PGANALYTICS_STORE_DSN_SECRET" in function.environment}
    assert runs.keys() | {"loader"} == connected
    assert account.made["store_connections"] == sum(runs.values()) + loaders == 52


def test_alarms_are_told_to_an_encrypted_topic_and_by_mail(account: Account) -> None:
    alarms = account.client("cloudwatch").describe_alarms(MaxRecords=100)["MetricAlarms"]
    (topic,) = account.made["alarm_topics"]
    assert all(alarm["AlarmActions"] == alarm["OKActions"] == [topic] for alarm in alarms)
    names = {alarm["AlarmName"].removeprefix("pganalytics-") for alarm in alarms}
    of_functions = {f"{name}-{what}" for name in account.made["functions"] for what in ("errors", "throttles")}
    assert names == {"dead-letters", "loading-behind", "silent-agents"} | of_functions
    dimensions = {each["Value"] for alarm in alarms for each in alarm["Dimensions"] if each["Name"] == "FunctionName"}
    assert dimensions == set(account.made["functions"].values())
    sns = account.client("sns")
    assert ":key/" in sns.get_topic_attributes(TopicArn=topic)["Attributes"]["KmsMasterKeyId"]
    (subscription,) = sns.list_subscriptions_by_topic(TopicArn=topic)["Subscriptions"]
    assert (subscription["Protocol"], subscription["Endpoint"]) == ("email", "dba@example.org")


def test_silence_is_an_alarm(account: Account) -> None:
    client = account.client("cloudwatch")
    (alarm,) = client.describe_alarms(AlarmNames=["pganalytics-silent-agents"])["MetricAlarms"]
    assert (alarm["Namespace"], alarm["MetricName"]) == ("pgAnalytics", "SilentAgents")
    assert (alarm["Threshold"], alarm["TreatMissingData"]) == (0, "breaching")
    assert account.variables("maintenance")["PGANALYTICS_DEPLOYMENT"] == alarm["Dimensions"][0]["Value"]


def test_one_page_shows_it_all(account: Account) -> None:
    body = account.client("cloudwatch").get_dashboard(DashboardName="pganalytics")["DashboardBody"]
    widgets = json.loads(body)["widgets"]
    shown = {(metric[0], metric[1]) for widget in widgets for metric in widget["properties"]["metrics"]}
    assert shown >= {
        ("pgAnalytics", "SilentAgents"),
        ("AWS/ApiGateway", "Latency"),
        ("AWS/SQS", "ApproximateAgeOfOldestMessage"),
        *(("AWS/Lambda", name) for name in ("Errors", "Throttles", "Duration", "ConcurrentExecutions")),
    }
    places = [(widget["x"], widget["y"]) for widget in widgets]
    assert len(set(places)) == len(places)
    assert all(widget["x"] + widget["width"] <= 24 for widget in widgets)


def test_the_store_s_secret_stands_empty_until_an_operator_fills_it(account: Account) -> None:
    client = account.client("secretsmanager")
    with pytest.raises(client.exceptions.ResourceNotFoundException):
        client.get_secret_value(SecretId=account.made["store_secret"])


def _keys(account: Account) -> Keys:
    found = account.client("secretsmanager").get_secret_value(
        SecretId=account.made["keys_secret"], VersionStage="AWSCURRENT"
    )
    return parse_keys(found["SecretString"].encode(), "keys")


def test_keys_and_authority_are_made_by_the_deployment(account: Account) -> None:
    found = account.client("secretsmanager").get_secret_value(SecretId=account.made["authority_secret"])
    assert parse_authority(found["SecretString"].encode(), "authority").certificates
    token = issue(agent_claims(), _keys(account))
    assert verify(token, _keys(account), datetime.now(UTC).timestamp()).sub == "agent-1"


def test_secrets_manager_rotates_the_keys_and_tokens_stay_good(account: Account) -> None:
    client, name = account.client("secretsmanager"), account.made["keys_secret"]
    described = client.describe_secret(SecretId=name)
    assert described["RotationEnabled"] is True
    assert described["RotationRules"] == {"AutomaticallyAfterDays": 30}
    before = Keys(fresh(int(datetime.now(UTC).timestamp()) - ROTATION_SECONDS))
    client.put_secret_value(SecretId=name, SecretString=dump(before.all))
    # moto forgets the function when it is asked without.
    client.rotate_secret(SecretId=name, RotationLambdaARN=described["RotationLambdaARN"])
    after = _keys(account)
    assert after.signing == before.all[1]
    for signing in (before, after):
        verify(issue(agent_claims(), signing), after, datetime.now(UTC).timestamp())


def test_ansible_s_variables_are_those_of_the_role(account: Account) -> None:
    options = specified(AGENT)["main"]
    for transport, variables in account.made["ansible"].items():
        assert variables.keys() <= options.keys()
        assert all(isinstance(value, str) and options[name]["type"] == "str" for name, value in variables.items())
        assert variables["pganalytics_agent_transport"] == transport
        assert variables["pganalytics_agent_server_url"] == account.made["agent_url"]
        assert variables["pganalytics_agent_enrolment_url"] == account.made["url"]
        assert variables["pganalytics_agent_confirm_url"] == account.made["url"]
    assert list(account.made["ansible"]) == sorted(options["pganalytics_agent_transport"]["choices"])
    assert account.made["ansible"]["s3"]["pganalytics_agent_bucket"] == account.made["bucket"]


def test_what_cannot_be_is_refused_with_what_to_say_instead(account: Account) -> None:
    wrong = """
      architecture             = "mips"
      authorizer_cache_seconds = -1
      bucket_cold              = { after_days = 1, class = "GLACIER" }
      concurrency              = { query = 0 }
      database                 = { vpc_id = "vpc-1", subnet_ids = ["subnet-1"], max_capacity = 0 }
      keys_rotation_days       = 0
      layers                   = ["mine"]
      silent_agents            = -1
    """
    told = account.refused(wrong)
    for name in (line.split()[0] for line in wrong.strip().splitlines()):
        assert f" {name}: " in told, name
    assert "GLACIER_IR or STANDARD_IA" in told


def test_what_does_not_go_together_is_refused(account: Account) -> None:
    told = account.refused("""
      bucket_keep_days = 90
      bucket_cold      = { after_days = 30 }
      database         = { vpc_id = "vpc-1", subnet_ids = ["subnet-1", "subnet-2"] }
      network          = { subnet_ids = ["subnet-1"], security_group_ids = ["sg-1"] }
    """)
    assert "bucket_cold: S3 bills 90 days of GLACIER_IR" in told
    assert "network: with database, functions are in its subnets" in told


# Last, for it changes what was made.


@pytest.fixture(scope="module", autouse=True)
def _domains_as_aws_tells_of_them() -> Iterator[None]:
    """moto leaves out what AWS adds to a domain: that it is there now, and where its record must lead."""
    real = DomainName.to_json

    def told(self: DomainName) -> dict[str, Any]:
        added = {"domainNameStatus": "AVAILABLE", "apiGatewayDomainName": f"d-{self.domain_name}", "hostedZoneId": "Z1"}
        found = real(self)
        return {**found, "domainNameConfigurations": [{**each, **added} for each in found["domainNameConfigurations"]]}

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(DomainName, "to_json", told)
        yield


@pytest.fixture(scope="module")
def more(account: Account) -> dict[str, Any]:
    """The outputs, once the module makes a store and has names of its own."""
    ec2 = account.client("ec2")
    (vpc,) = ec2.describe_vpcs()["Vpcs"]
    subnets = '", "'.join(each["SubnetId"] for each in ec2.describe_subnets()["Subnets"][:2])
    (group,) = ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]
    told = {"vpc": vpc["VpcId"], "subnets": subnets, "group": group["GroupId"]}
    return account.apply(_USUAL + _MORE % told, "-refresh=false")


def test_agents_come_by_a_domain_that_asks_for_certificates(account: Account, more: dict[str, Any]) -> None:
    client = account.client("apigatewayv2")
    assert more["url"] == "https://pganalytics.example.org"
    assert more["agent_url"] == "https://agents.example.org"
    assert more["domains"]["agents.example.org"] == {"target": "d-agents.example.org", "zone": "Z1"}
    (api,) = client.get_apis()["Items"]
    assert api["DisableExecuteApiEndpoint"] is True
    assert {account.variables(name)["PGANALYTICS_BIND_TOKENS"] for name in ("authorizer", "identity")} == {"true"}
    for name in ("pganalytics.example.org", "agents.example.org"):
        (mapping,) = client.get_api_mappings(DomainName=name)["Items"]
        assert (mapping["ApiId"], mapping["Stage"]) == (api["ApiId"], "$default")
    # Operators and hosts that enrol have no certificate, and come by the other name.
    assert not client.get_domain_name(DomainName="pganalytics.example.org").get("MutualTlsAuthentication")
    mutual = client.get_domain_name(DomainName="agents.example.org")["MutualTlsAuthentication"]
    bucket, _, key = mutual["TruststoreUri"].removeprefix("s3://").partition("/")
    stored = account.client("s3").get_object(Bucket=bucket, Key=key, VersionId=mutual["TruststoreVersion"])
    content = stored["Body"].read()
    assert b"BEGIN CERTIFICATE" in content
    assert b"PRIVATE" not in content


def test_no_answer_is_kept_where_a_token_is_bound_to_a_certificate(account: Account, more: dict[str, Any]) -> None:
    client = account.client("apigatewayv2")
    (api,) = client.get_apis()["Items"]
    (asked,) = {route.get("AuthorizerId") for route in client.get_routes(ApiId=api["ApiId"])["Items"]} - {None}
    assert client.get_authorizer(ApiId=api["ApiId"], AuthorizerId=asked)["AuthorizerResultTtlInSeconds"] == 0


def test_a_store_of_ours_is_encrypted_backed_up_and_hard_to_delete(account: Account, more: dict[str, Any]) -> None:
    rds = account.client("rds")
    (cluster,) = rds.describe_db_clusters()["DBClusters"]
    assert cluster["StorageEncrypted"] is True
    assert cluster["DeletionProtection"] is True
    assert cluster["BackupRetentionPeriod"] == 14
    assert cluster["MasterUserSecret"]["SecretArn"] == more["store_secret"]
    assert len(cluster["DBClusterMembers"]) == 2
    assert cluster["ServerlessV2ScalingConfiguration"] == {"MinCapacity": 0.5, "MaxCapacity": 8.0}
    (proxy,) = rds.describe_db_proxies()["DBProxies"]
    assert proxy["RequireTLS"] is True
    assert proxy["Endpoint"] == more["store_address"]
    (auth,) = proxy["Auth"]
    assert (auth["SecretArn"], auth["ClientPasswordAuthType"]) == (more["store_secret"], "POSTGRES_SCRAM_SHA_256")


def test_functions_are_told_the_way_to_our_store_and_alone_have_one(account: Account, more: dict[str, Any]) -> None:
    ec2, client = account.client("ec2"), account.client("lambda")
    groups = {group["GroupName"]: group for group in ec2.describe_security_groups()["SecurityGroups"]}
    ids = {name: group["GroupId"] for name, group in groups.items()}
    for name, reached_by in (
        ("store", ["pganalytics-store-proxy"]),
        ("store-proxy", ["default", "pganalytics-functions"]),
    ):
        rules = groups[f"pganalytics-{name}"]["IpPermissions"]
        assert all(rule["IpRanges"] == [] and rule["FromPort"] == rule["ToPort"] == 5432 for rule in rules)
        allowed = {pair["GroupId"] for rule in rules for pair in rule["UserIdGroupPairs"]}
        assert allowed == {ids[each] for each in reached_by}
    for function in functions():
        found = client.get_function_configuration(FunctionName=more["functions"][function.name])
        told = found["Environment"]["Variables"]
        assert told.keys() == function.environment
        assert found.get("VpcConfig", {}).get("SecurityGroupIds", []) == (
            [ids["pganalytics-functions"]] if "PGANALYTICS_STORE_AT" in function.environment else []
        )
        if "PGANALYTICS_STORE_AT" in told:
            assert told["PGANALYTICS_STORE_DSN_SECRET"] == more["store_secret"]
            assert f"host={more['store_address']} " in told["PGANALYTICS_STORE_AT"]
            assert "sslmode=verify-full" in told["PGANALYTICS_STORE_AT"]


def test_migrations_run_when_the_store_is_ours(more: dict[str, Any]) -> None:
    assert more["migrations"] == "{}", "moto answers with the question; what the function does is tested elsewhere"


def test_an_account_with_a_small_quota_bounds_nothing(account: Account, more: dict[str, Any]) -> None:
    client = account.client("lambda")
    for function in more["functions"].values():
        assert "ReservedConcurrentExecutions" not in client.get_function_concurrency(FunctionName=function)
    assert more["store_connections"] is None
