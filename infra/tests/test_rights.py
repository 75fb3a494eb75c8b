"""Least privilege: what the scenarios' journals recorded is allowed, and what nobody calls is not granted."""

import copy
from collections import defaultdict

import calls
import iam
import parameters
import pytest
import stack as stacks
from conftest import EVERYTHING

ROLES = {"on-push": "OnPushRole", "fanout": "FanoutRole"}

# Statements on `*`, and why AWS has no other.
ON_EVERYTHING = {
    "Traces": "X-Ray has no resources that a policy could name",
    "Login": "a login is for a whole registry; GetAuthorizationToken knows no resource",
    "PublicLogin": "the same of ECR Public",
    "PublicLoginToken": "a service token has no resource; bound to ECR Public by a condition",
    "EnhancedScans": "Inspector's findings and coverage belong to no repository; ECR asks for them on the caller's behalf",
    "Interfaces": "Lambda asks for these on every resource when it puts a function into a VPC; denied to the code",
}


def platform(stack: stacks.Stack) -> dict[str, list[tuple[str, str, dict]]]:
    """What AWS itself does as a role.

    Source: Lambda developer guide, "Execution role", "Using Lambda with Amazon SQS", "Capturing records of asynchronous
    invocations", "Giving functions access to resources in a VPC"; ECR user guide, "IAM permissions required for enhanced
    scanning" (ECR asks Inspector as whoever calls DescribeImageScanFindings, so that no ledger has it); EventBridge Scheduler user guide, "Setting up the
    execution role"; SQS developer guide, "Key management"."""
    queue_key = stack.parameters["QueueKeyArn"]
    both = [
        ("xray:PutTraceSegments", "*", {}),
        ("xray:PutTelemetryRecords", "*", {}),
        ("kms:Decrypt", queue_key, {}),
        ("kms:GenerateDataKey", queue_key, {}),
        ("inspector2:ListCoverage", "*", {}),
        ("inspector2:ListFindings", "*", {}),
        ("ec2:AssignPrivateIpAddresses", "*", {}),
        ("ec2:CreateNetworkInterface", "*", {}),
        ("ec2:DeleteNetworkInterface", "*", {}),
        ("ec2:DescribeNetworkInterfaces", "*", {}),
        ("ec2:DescribeSubnets", "*", {}),
        ("ec2:UnassignPrivateIpAddresses", "*", {}),
    ]

    def logs(name: str) -> list[tuple[str, str, dict]]:
        stream = f"{stack.arn(name).removesuffix('*')}log-stream:2026/11/22/[$LATEST]0123456789abcdef"
        return [("logs:CreateLogStream", stream, {}), ("logs:PutLogEvents", stream, {})]

    return {
        "OnPushRole": [*both, *logs("OnPushLogs"), ("sqs:SendMessage", stack.arn("EventDeadLetters"), {})],
        "FanoutRole": [
            *both,
            *logs("FanoutLogs"),
            *[
                (f"sqs:{action}", stack.arn("Queue"), {})
                for action in ("ReceiveMessage", "DeleteMessage", "GetQueueAttributes")
            ],
        ],
        "SweepRole": [
            ("sqs:SendMessage", stack.arn("Queue"), {}),
            ("sqs:SendMessage", stack.arn("DeadLetters"), {}),
            ("kms:Decrypt", queue_key, {}),
            ("kms:GenerateDataKey", queue_key, {}),
        ],
    }


def judge(template: dict, full: stacks.Stack):
    """Every need of every scenario against the roles of its configuration: what was denied, and what was of use."""
    denied, used, seen = [], defaultdict(set), 0
    built: dict[tuple, stacks.Stack] = {}
    for scenario in calls.scenarios():
        own = []
        for given in scenario.given():
            key = tuple(sorted(given.items()))
            if key not in built:
                built[key] = stacks.Stack(template, **given)
            own.append(built[key])
        for need in scenario.needs(own[0]):
            for function in need.functions:
                role = ROLES[function]
                seen += 1
                context = dict(need.context)
                found = [
                    grant
                    for stack in own
                    for grant in iam.allowing(iam.statements(stack, role), need.action, need.resource, context)
                ]
                used[role].update(found)
                if not found:
                    denied.append(f"{scenario.name}: {role}: {need.action} on {need.resource}")
    for role, needs in platform(full).items():
        for action, resource, context in needs:
            found = iam.allowing(iam.statements(full, role), action, resource, context)
            used[role].update(found)
            if not found:
                denied.append(f"AWS itself: {role}: {action} on {resource}")
    return denied, used, seen


@pytest.fixture(scope="session")
def judged(template, full):
    return judge(template, full)


def unused(full: stacks.Stack, used: dict[str, set]) -> set[iam.Grant]:
    """What the roles are granted and nobody needed.

    What is in the policy of both is for the code of both: that one of them needed it is enough. What a role has of its
    own, it must have needed itself."""
    shared = {
        statement["Sid"]
        for policy in full.of_type("AWS::IAM::Policy").values()
        for statement in policy["PolicyDocument"]["Statement"]
    }
    either = used["OnPushRole"] | used["FanoutRole"]
    return {
        grant
        for role in ("OnPushRole", "FanoutRole", "SweepRole")
        for grant, statement in iam.grants(iam.statements(full, role))
        if grant not in (either if role != "SweepRole" and grant.sid in shared else used[role])
    }


def test_the_ledger_is_there():
    assert calls.scenarios(), f"{calls.FOLDER} has no calls: run `make test` first, or `make infra`, which does"


def test_every_call_that_the_scenarios_recorded_is_allowed(judged):
    denied, _, seen = judged
    assert not denied, "\n".join(sorted(set(denied)))
    assert seen > 1000, f"only {seen} calls were looked at"


def test_an_action_that_nobody_calls_is_not_granted(judged, full):
    _, used, _ = judged
    assert unused(full, used) == set()


def test_a_right_too_few_and_one_too_many_would_be_seen(template):
    changed = copy.deepcopy(template)
    policy = changed["Resources"]["ReplicationPolicy"]["Properties"]["PolicyDocument"]["Statement"]
    by_sid = {choice["Fn::If"][1]["Sid"]: choice["Fn::If"][1] for choice in policy if "Fn::If" in choice}
    read, write = by_sid["Read"], by_sid["Write"]
    read["Action"].remove("ecr:DescribeImages")
    write["Action"].append("ecr:DeleteRepository")
    full = stacks.Stack(changed, **EVERYTHING)
    denied, used, _ = judge(changed, full)
    assert any("DescribeImages on arn:aws:ecr:us-east-1:111122223333:repository/team/app" in text for text in denied)
    assert unused(full, used) == {iam.Grant("Write", "ecr:DeleteRepository")}


def test_no_statement_is_on_everything_but_where_aws_has_no_other(full):
    for role in ("OnPushRole", "FanoutRole", "SweepRole"):
        for statement in iam.statements(full, role):
            assert not any("*" in action for action in iam.as_list(statement["Action"])), statement["Sid"]
            if statement["Effect"] == "Allow" and "*" in iam.as_list(statement["Resource"]):
                assert statement["Sid"] in ON_EVERYTHING


def test_the_functions_code_may_not_touch_the_network(full):
    policy = iam.statements(full, "OnPushRole")
    code = {"lambda:SourceFunctionArn": full.arn("OnPush")}
    assert iam.allowing(policy, "ec2:CreateNetworkInterface", "*")
    assert not iam.allowing(policy, "ec2:CreateNetworkInterface", "*", code)


def test_without_parameters_there_is_a_login_and_no_more(plain):
    own = {"Logs", "Traces", "Queue", "FailedEvents", "DeadLetters", "Login"}
    for role in ROLES.values():
        assert {statement["Sid"] for statement in iam.statements(plain, role)} <= own


@pytest.mark.parametrize(
    ("action", "resource"),
    [
        ("ecr:PutImage", "arn:aws:ecr:us-east-1:111122223333:repository/team/app"),
        ("ecr:PutImage", "arn:aws:ecr:eu-west-1:111122223333:repository/mirrored"),
        ("ecr:PutImage", "arn:aws:ecr:eu-west-1:999999999999:repository/mirror/app"),
        ("ecr:BatchGetImage", "arn:aws:ecr:us-east-1:111122223333:repository/secret/app"),
        ("ecr:CreateRepository", "arn:aws:ecr:us-west-2:111122223333:repository/copy"),
        ("ecr:DeleteRepository", "arn:aws:ecr:eu-west-1:111122223333:repository/mirror/app"),
        ("ecr:BatchDeleteImage", "arn:aws:ecr:us-west-2:111122223333:repository/copy"),
        ("secretsmanager:GetSecretValue", "arn:aws:secretsmanager:us-east-1:111122223333:secret:ghcr-admin-AbCdEf"),
        ("sts:AssumeRole", "arn:aws:iam::222233334444:role/transship-push-2"),
        ("ssm:GetParameter", "arn:aws:ssm:us-east-1:111122223333:parameter/transship/config2"),
        ("kms:Decrypt", "arn:aws:kms:us-east-1:111122223333:key/66666666-7777-8888-9999-000000000000"),
        ("sqs:DeleteMessage", "arn:aws:sqs:us-east-1:111122223333:transship-dead-letters"),
        ("sqs:PurgeQueue", "arn:aws:sqs:us-east-1:111122223333:transship-queue"),
        ("iam:PassRole", "arn:aws:iam::111122223333:role/any"),
    ],
)
def test_what_the_configuration_does_not_name_is_denied(full, action, resource):
    for role in ROLES.values():
        assert not iam.allowing(iam.statements(full, role), action, resource), role


def test_only_their_own_service_assumes_the_roles(full):
    for role, service in (("OnPushRole", "lambda"), ("FanoutRole", "lambda"), ("SweepRole", "scheduler")):
        (statement,) = full[role]["AssumeRolePolicyDocument"]["Statement"]
        assert statement["Principal"] == {"Service": f"{service}.amazonaws.com"}
        assert statement["Action"] == "sts:AssumeRole"


# --- parameters.py ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("glob", "expected"),
    [
        ("team/app", ["team/app"]),
        ("team/*", ["team/*"]),
        ("team/**", ["team/*"]),
        ("**", ["*"]),
        ("**/app", ["*/app", "app"]),
        ("a/**/b", ["a/*/b", "a/b"]),
        ("team/{app,web-*}", ["team/app", "team/web-*"]),
        ("team/{a,b{1,2}}", ["team/a", "team/b1", "team/b2"]),
        ("team/app-[0-9]?", ["team/app-??"]),
        ("team/\\*", ["team/*"]),
    ],
)
def test_a_glob_becomes_an_arn_no_wider_than_iam_needs(glob, expected):
    assert parameters.wildcards(glob) == expected


def test_what_a_configuration_names_is_in_the_parameters():
    us, eu = "111122223333.dkr.ecr.us-east-1.amazonaws.com", "222233334444.dkr.ecr.eu-west-1.amazonaws.com"
    config = {
        "rules": [
            {
                "source": {"registry": us, "repository": "team/**"},
                "destinations": ["ghcr.io/acme/{repository}", f"{eu}/mirror/{{name}}:{{tag}}"],
            },
            {
                "source": {"repository": "one"},
                "destinations": [
                    "public.ecr.aws/acme/one",
                    "333344445555.dkr.ecr.eu-west-1.amazonaws.com/{repository}",
                ],
            },
        ],
        "registries": {
            "ghcr.io": {"credentials": "secretsmanager:ghcr"},
            "quay.io": {
                "credentials": "secretsmanager:arn:aws:secretsmanager:us-east-1:111122223333:secret:quay-Ab12Cd"
            },
            eu: {"create_repository": {"lifecycle_policy": {}, "encryption": {"type": "KMS", "kms_key": "alias/ecr"}}},
            "333344445555.dkr.ecr.eu-west-1.amazonaws.com": {"role_arn": "arn:aws:iam::333344445555:role/push"},
        },
    }
    rights = parameters.derive(config, "111122223333", "us-east-1")
    mirror = "arn:aws:ecr:eu-west-1:222233334444:repository/mirror/*"
    assert rights.lists == {
        "SourceRepositoryArns": [f"arn:aws:ecr:us-east-1:111122223333:repository/{name}" for name in ("team/*", "one")],
        "ListedRegistryArns": ["arn:aws:ecr:us-east-1:111122223333:repository/*"],
        "DestinationRepositoryArns": [mirror],
        "CreatedRepositoryArns": [mirror],
        "RepositoryPolicyArns": [mirror],
        "PublicRepositoryArns": ["arn:aws:ecr-public::111122223333:repository/one"],
        "SecretArns": [
            "arn:aws:secretsmanager:us-east-1:111122223333:secret:ghcr-??????",
            "arn:aws:secretsmanager:us-east-1:111122223333:secret:quay-Ab12Cd",
        ],
        "RegistryRoleArns": ["arn:aws:iam::333344445555:role/push"],
    }
    assert rights.public
    assert rights.hints == ["RepositoryKeyArns needs the ARN of the key alias/ecr: IAM takes no alias and no bare ID"]


@pytest.mark.parametrize(
    ("region", "partition"), [("cn-north-1", "aws-cn"), ("us-gov-west-1", "aws-us-gov"), ("eu-west-1", "aws")]
)
def test_other_partitions_have_arns_of_their_own(region, partition):
    suffix = ".cn" if partition == "aws-cn" else ""
    config = {"rules": [{"destinations": [f"444455556666.dkr.ecr.{region}.amazonaws.com{suffix}/{{repository}}"]}]}
    rights = parameters.derive(config, "111122223333", "us-east-1")
    assert rights.lists["DestinationRepositoryArns"] == [f"arn:{partition}:ecr:{region}:444455556666:repository/*"]


def test_rules_that_delete_or_wait_for_scans_have_the_rights_and_the_events_for_it(template):
    source = {"registry": "111122223333.dkr.ecr.us-east-1.amazonaws.com", "repository": "team/app"}
    rules = [
        {
            "source": source,
            "destinations": ["111122223333.dkr.ecr.eu-west-1.amazonaws.com/a", "public.ecr.aws/acme/a"],
            "delete": "untag",
        },
        {
            "source": source,
            "destinations": ["111122223333.dkr.ecr.eu-west-1.amazonaws.com/b"],
            "scan_gate": None,
            "delete": None,
        },
        {
            "source": {"repository": "other"},
            "destinations": ["ghcr.io/acme/c"],
            "scan_gate": {"severity": "HIGH"},
        },
    ]
    found = parameters.derive({"rules": rules}, "111122223333", "us-east-1").parameters()
    assert found["DeletedRepositoryArns"] == "arn:aws:ecr:eu-west-1:111122223333:repository/a"
    assert found["DeletedPublicRepositoryArns"] == "arn:aws:ecr-public::111122223333:repository/a"
    assert found["ScannedRepositoryArns"] == "arn:aws:ecr:us-east-1:111122223333:repository/other"
    assert (found["DeleteEvents"], found["ScanEvents"]) == ("true", "true")
    # The gate waits for an hour: that takes ten looks, and some tries may fail (docs/scan-gate.md: 12 or more).
    assert found["MaximumReceives"] == "16"
    assert "ReferrerEvents" not in found, "the template's default, which is true"
    stack = stacks.Stack(template, Configuration="{}", **found)
    assert stack["Queue"]["RedrivePolicy"]["maxReceiveCount"] == "16"
    assert {"DeleteRule", "ScanRule"} <= stack.resources.keys()
    for action, resource in (
        ("ecr:BatchDeleteImage", "arn:aws:ecr:eu-west-1:111122223333:repository/a"),
        ("ecr-public:BatchDeleteImage", "arn:aws:ecr-public::111122223333:repository/a"),
        ("ecr:DescribeImageScanFindings", "arn:aws:ecr:us-east-1:111122223333:repository/other"),
    ):
        for role in ROLES.values():
            policy = iam.statements(stack, role)
            assert iam.allowing(policy, action, resource)
            assert not iam.allowing(policy, action, f"{resource}-2")
    # ECR's own question to Inspector, where enhanced scanning is on.
    free = stacks.Stack(template, Configuration="{}", SourceRepositoryArns=found["SourceRepositoryArns"])
    for action in ("inspector2:ListCoverage", "inspector2:ListFindings"):
        for role in ROLES.values():
            assert iam.allowing(iam.statements(stack, role), action, "*")
            assert not iam.allowing(iam.statements(free, role), action, "*")


@pytest.mark.parametrize(
    ("rules", "heard"),
    [
        ([{}], True),
        ([{"referrers": False}, {"referrers": {"include": ["application/spdx+json"]}}], True),
        ([{"referrers": False, "untagged": "by-digest"}], True),
        ([{"referrers": False}], False),
        ([], False),
    ],
)
def test_referrers_are_heard_of_unless_no_rule_takes_them(template, rules, heard):
    config = {"rules": [{"destinations": ["ghcr.io/acme/a"], **rule} for rule in rules]}
    found = parameters.derive(config, "111122223333", "us-east-1").parameters()
    stack = stacks.Stack(template, Configuration="{}", **found)
    assert ("ReferrerRule" in stack.resources) == heard
    assert not {"DeleteRule", "ScanRule"} & stack.resources.keys()
    assert stack["Queue"]["RedrivePolicy"]["maxReceiveCount"] == "5"
