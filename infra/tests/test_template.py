"""The SAM template: what CloudFormation would be given, by the tools and by our own rules."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import stack as stacks

TOOLS = Path(sys.executable).parent


def run(*command: str, **environment: str) -> subprocess.CompletedProcess:
    env = {"PATH": f"{TOOLS}:/usr/bin:/bin", "HOME": "/nonexistent", "SAM_CLI_TELEMETRY": "0", **environment}
    return subprocess.run(command, env=env, capture_output=True, text=True, timeout=300, check=False)


def test_sam_validates_and_lints_it(tmp_path):
    done = run(
        "sam", "validate", "--lint", "--region", stacks.REGION, "--template", str(stacks.TEMPLATE), HOME=str(tmp_path)
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_cfn_lint_has_nothing_to_say_of_what_sam_makes_of_it(template, tmp_path):
    # cfn-lint alone checks SAM's resources by their schemas and misses ranges and relations (seen in 1.58).
    path = tmp_path / "transformed.json"
    path.write_text(json.dumps(template))
    done = run("cfn-lint", "--regions", stacks.REGION, "--template", str(path))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("resource", "path", "value", "rule"),
    [
        ("FanoutMapping", ("ScalingConfig", "MaximumConcurrency"), 1, "E3034"),
        ("Queue", ("VisibilityTimeout",), 800, "E3505"),
        ("OnPush", ("Timeout",), 901, "E3717"),
        ("OnPush", ("Runtime",), "provided.al2", "W2531"),
    ],
)
def test_cfn_lint_would_see_a_mistake(template, tmp_path, resource, path, value, rule):
    broken = json.loads(json.dumps(template))
    *parents, last = path
    node = broken["Resources"][resource]["Properties"]
    for parent in parents:
        node = node[parent]
    node[last] = value
    file = tmp_path / "broken.json"
    file.write_text(json.dumps(broken))
    done = run("cfn-lint", "--regions", stacks.REGION, "--template", str(file))
    assert rule in done.stdout, done.stdout


def test_every_parameter_and_output_is_described_and_every_parameter_has_a_default():
    written = stacks.template_text()
    for kind in ("Parameters", "Outputs"):
        for name, declared in written[kind].items():
            assert declared.get("Description"), f"{kind}.{name}"
    assert all("Default" in declared for declared in written["Parameters"].values())
    groups = written["Metadata"]["AWS::CloudFormation::Interface"]["ParameterGroups"]
    shown = [name for group in groups for name in group["Parameters"]]
    assert sorted(shown) == sorted(written["Parameters"])


def test_a_stack_without_a_configuration_or_with_two_is_refused():
    def failing(**given):
        written = stacks.template_text()
        stack = stacks.Stack(stacks.transformed(), **given)
        return [
            a["AssertDescription"]
            for a in written["Rules"]["OneConfiguration"]["Assertions"]
            if not stack.value(a["Assert"])
        ]

    assert failing() == ["Set Configuration or ConfigurationParameter."]
    assert failing(Configuration="{}", ConfigurationParameter="/c") == [
        "Set Configuration or ConfigurationParameter, not both."
    ]
    assert failing(Configuration="{}") == failing(ConfigurationParameter="/c") == []


def test_the_functions_are_those_that_are_built(plain, full):
    written = stacks.template_text()["Resources"]
    for stack in (plain, full):
        functions = stack.of_type("AWS::Lambda::Function")
        assert sorted(functions) == ["Fanout", "OnPush"]
        for name, function in functions.items():
            binary = {"OnPush": "on-push", "Fanout": "fanout"}[name]
            assert written[name]["Metadata"] == {
                "BuildMethod": "rust-cargolambda",
                "BuildProperties": {"Binary": binary},
            }
            assert (stacks.INFRA.parent / "functions" / binary).is_dir()
            assert (function["Runtime"], function["Handler"]) == ("provided.al2023", "bootstrap")
            assert function["Architectures"] == ["arm64"]
            assert function["Timeout"] == 900
            assert function["MemorySize"] == "512"
            assert function["TracingConfig"] == {"Mode": "Active"}
            assert function["RecursiveLoop"] == "Allow", "continuations and backfills go round the queue"
            assert function["LoggingConfig"]["LogFormat"] == "JSON"
            assert function["LoggingConfig"]["LogGroup"] == stack[f"{name}Logs"]["LogGroupName"]
            assert function["Role"] == stack.arn(f"{name}Role")
    assert "ReservedConcurrentExecutions" not in plain["OnPush"]
    assert full["OnPush"]["ReservedConcurrentExecutions"] == "50"
    assert "VpcConfig" not in plain["OnPush"]
    assert full["Fanout"]["VpcConfig"]["SubnetIds"] == ["subnet-0aaaaaaaaaaaaaaaa", "subnet-0bbbbbbbbbbbbbbbb"]


def test_the_functions_get_the_environment_of_the_contract(plain, full):
    on_push, fanout = (plain[name]["Environment"]["Variables"] for name in ("OnPush", "Fanout"))
    queue = plain._ref("Queue")
    assert on_push == {"TRANSSHIP_CONFIG": '{"rules": []}', "TRANSSHIP_QUEUE_URL": queue}
    assert fanout == {**on_push, "TRANSSHIP_DEAD_LETTER_QUEUE_URL": plain._ref("DeadLetters")}
    assert full["OnPush"]["Environment"]["Variables"]["TRANSSHIP_CONFIG"] == "ssm:/transship/config:3"


def test_the_functions_wait_for_their_rights(template):
    for name in ("OnPush", "Fanout"):
        assert template["Resources"][name]["DependsOn"] == "ReplicationPolicy"


def test_the_queue_suits_its_function(plain, full):
    queue, mapping = full["Queue"], full["FanoutMapping"]
    assert queue["VisibilityTimeout"] >= 6 * full["Fanout"]["Timeout"]
    assert queue["MessageRetentionPeriod"] == 14 * 86400
    assert queue["RedrivePolicy"] == {"deadLetterTargetArn": full.arn("DeadLetters"), "maxReceiveCount": "16"}
    assert plain["Queue"]["RedrivePolicy"]["maxReceiveCount"] == "5"
    assert mapping["EventSourceArn"] == full.arn("Queue")
    assert mapping["BatchSize"] == 1, "one image for each invocation"
    assert mapping["FunctionResponseTypes"] == ["ReportBatchItemFailures"]
    assert mapping["ScalingConfig"] == {"MaximumConcurrency": "10"}
    dead = full["DeadLetters"]
    assert dead["RedriveAllowPolicy"] == {"redrivePermission": "byQueue", "sourceQueueArns": [full.arn("Queue")]}
    assert dead["MessageRetentionPeriod"] == full["EventDeadLetters"]["MessageRetentionPeriod"] == 14 * 86400


def test_queues_are_encrypted_and_take_tls_alone(plain, full):
    for stack in (plain, full):
        policies = stack.of_type("AWS::SQS::QueuePolicy").values()
        for name, queue in stack.of_type("AWS::SQS::Queue").items():
            encryption = {key: queue[key] for key in ("SqsManagedSseEnabled", "KmsMasterKeyId") if key in queue}
            assert encryption == (
                {"SqsManagedSseEnabled": True}
                if stack is plain
                else {"KmsMasterKeyId": stack.parameters["QueueKeyArn"]}
            )
            (policy,) = [policy for policy in policies if policy["Queues"] == [stack._ref(name)]]
            assert {
                "Sid": "TlsOnly",
                "Effect": "Deny",
                "Principal": "*",
                "Action": "sqs:*",
                "Resource": stack.arn(name),
                "Condition": {"Bool": {"aws:SecureTransport": "false"}},
            } in policy["PolicyDocument"]["Statement"]


def test_every_rule_leads_to_on_push_with_retries_and_a_dead_letter_queue_that_lets_it_in(plain, full):
    for stack, names in ((plain, ["PushRule", "ReferrerRule"]), (full, ["DeleteRule", "PushRule", "ReferrerRule", "ScanRule"])):
        rules = stack.of_type("AWS::Events::Rule")
        assert sorted(rules) == names
        statements = stack["EventDeadLettersPolicy"]["PolicyDocument"]["Statement"]
        (events,) = [statement for statement in statements if statement["Sid"] == "Events"]
        assert events["Principal"] == {"Service": "events.amazonaws.com"}
        assert sorted(events["Condition"]["ArnEquals"]["aws:SourceArn"]) == sorted(map(stack.arn, rules))
        for name, rule in rules.items():
            (target,) = rule["Targets"]
            assert target["Arn"] == stack.arn("OnPush")
            assert target["DeadLetterConfig"] == {"Arn": stack.arn("EventDeadLetters")}
            assert target["RetryPolicy"] == {"MaximumRetryAttempts": 185, "MaximumEventAgeInSeconds": 86400}
            permission = stack[f"{name}Permission"]
            assert permission["SourceArn"] == stack.arn(name)
            assert permission["Principal"] == "events.amazonaws.com"


def matches(pattern: dict, event: dict) -> bool:
    """EventBridge's patterns, as far as ours go: lists of exact values, and objects."""
    for key, wanted in pattern.items():
        value = event.get(key)
        if isinstance(wanted, dict):
            if not isinstance(value, dict) or not matches(wanted, value):
                return False
        elif value not in wanted:
            return False
    return True


def test_each_event_file_meets_the_rules_that_it_should(full):
    rules = {name: rule["EventPattern"] for name, rule in full.of_type("AWS::Events::Rule").items()}
    expected = {
        "ecr-push": ["PushRule"],
        "ecr-push-image": ["PushRule"],
        "ecr-push-index": ["PushRule"],
        "ecr-push-untagged": ["PushRule"],
        "ecr-push-untagged-absent": ["PushRule"],
        "ecr-push-failed": [],
        "ecr-delete": ["DeleteRule"],
        "ecr-archive": [],
        "ecr-pull-through": [],
        # That is the restoring of an archived one.
        "ecr-referrer": [],
        "ecr-replication": [],
        "ecr-scan": ["ScanRule"],
    }
    for name, names in expected.items():
        event = json.loads((stacks.INFRA.parent / "events" / f"{name}.json").read_text())
        assert [rule for rule, pattern in rules.items() if matches(pattern, event)] == names, name
        # Which of these types the push of an artifact raises is not documented.
        if names == ["PushRule"]:
            for kind in ("ECR Referrer Action", "ECR Artifact Action"):
                event["detail-type"] = kind
                assert [rule for rule, pattern in rules.items() if matches(pattern, event)] == ["ReferrerRule"], name


def test_failed_events_are_kept(full):
    config = full["OnPushEventInvokeConfig"]
    assert config["MaximumRetryAttempts"] == 2
    assert config["MaximumEventAgeInSeconds"] == 6 * 3600
    assert config["DestinationConfig"]["OnFailure"] == {"Destination": full.arn("EventDeadLetters")}


def test_the_sweep_is_there_when_it_is_asked_for(plain, full):
    assert not plain.of_type("AWS::Scheduler::Schedule")
    assert "SweepRole" not in plain.resources
    target = full["Sweep"]["Target"]
    assert full["Sweep"]["ScheduleExpression"] == "rate(1 day)"
    assert target["Arn"] == full.arn("Queue")
    assert target["RoleArn"] == full.arn("SweepRole")
    assert json.loads(target["Input"]) == {"backfill": {}}
    assert target["DeadLetterConfig"] == {"Arn": full.arn("DeadLetters")}


def test_log_groups_have_an_end(plain):
    groups = plain.of_type("AWS::Logs::LogGroup")
    assert sorted(groups) == ["FanoutLogs", "OnPushLogs"]
    assert all(group["RetentionInDays"] == "30" for group in groups.values())


def test_the_example_of_samconfig_is_what_the_example_configuration_needs(template):
    config = tomllib.loads((stacks.INFRA / "sam" / "samconfig.toml").read_text())
    overrides = config["example"]["global"]["parameters"]["parameter_overrides"]
    given = dict(override.split("=", 1) for override in overrides)
    assert "Sweep" in stacks.Stack(template, **given).resources
    done = run(
        "python", str(stacks.INFRA / "sam" / "parameters.py"), "--account", stacks.ACCOUNT, "--region", stacks.REGION,
        str(stacks.INFRA / "example.json"),
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout
    for line in done.stdout.splitlines():
        assert json.loads(line.strip().removesuffix(",")) in overrides


def test_a_list_that_cloudformation_would_not_take_is_said(tmp_path):
    path = tmp_path / "transship.json"
    registry = "111122223333.dkr.ecr.us-east-1.amazonaws.com"
    names = [f"team/service-{number}" for number in range(80)]
    rules = [{"source": {"registry": registry, "repository": name}, "destinations": ["ghcr.io/a/b"]} for name in names]
    path.write_text(json.dumps({"rules": rules}))
    script = str(stacks.INFRA / "sam" / "parameters.py")
    done = run("python", script, "--account", stacks.ACCOUNT, "--region", stacks.REGION, str(path))
    assert done.returncode == 0
    assert "SourceRepositoryArns has" in done.stderr and "4096" in done.stderr


def test_a_configuration_that_can_not_be_right_is_named_before_it_is_deployed(tmp_path):
    path = tmp_path / "transship.json"
    path.write_text(json.dumps({"rules": [{"destination": ["ghcr.io/acme/app"]}]}))
    done = run(
        "python", str(stacks.INFRA / "sam" / "parameters.py"), "--account", "1", "--region", "us-east-1", str(path)
    )
    assert done.returncode == 1
    assert "$.rules[0]" in done.stderr and "destinations" in done.stderr
