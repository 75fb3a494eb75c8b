"""SAM and CDK make the same resources for the same configuration.

Both templates are brought to what CloudFormation makes of them (infra/tests/stack.py): SAM's after its transform, with the
parameters that infra/sam/parameters.py derives from the configuration; CDK's as its construct derives everything by itself.
What may differ is said in DIFFERENCES and in a case's `onlySam` (actions that SAM grants beyond what CDK does), each with its
reason; nothing else may.

    npm ci && ../../.venv-infra/bin/pytest test/compare
"""

from __future__ import annotations

import copy
import json

import cdk  # isort: skip  (says where the others are)
import parameters
import pytest
import stack as stacks

CASES = {case["name"]: case for case in json.loads((cdk.HERE / "cases.json").read_text())}

# What may differ: a path in a resource, and why. A test fails if one of them doesn't differ any more.
DIFFERENCES = {
    "Code": "the CDK refers to its own bucket of assets, SAM to the one that `sam deploy` made",
    "Tags": "SAM marks functions as its own",
    "PolicyName": "policies are compared as part of the roles that have them",
}


@pytest.fixture(scope="session")
def made() -> dict[str, stacks.Stack]:
    """The CDK's stacks by case."""
    return {name: cdk.stack(one) for name, one in cdk.cases().items()}


@pytest.fixture(scope="session")
def sam() -> dict:
    """SAM's template after its transform."""
    return stacks.transformed()


def sam_stack(template: dict, case: dict) -> stacks.Stack:
    derived = parameters.derive(case["configuration"], stacks.ACCOUNT, stacks.REGION)
    given = {"Configuration": json.dumps(case["configuration"]), **derived.parameters(), **case["sam"]}
    return stacks.Stack(template, **given)


def plain(value: object) -> object:
    """One spelling: SAM's parameters are texts, and JSON inside texts has its own."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (int, float)):
        return str(value)
    if isinstance(value, list):
        return [plain(part) for part in value]
    if isinstance(value, dict):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, str) and value.startswith("{"):
        try:
            return plain(json.loads(value))
        except ValueError:
            pass
    return value


def listed(value: object) -> list:
    return value if isinstance(value, list) else [value]


def statements(document: dict) -> set[tuple]:
    """Each action on each resource, with who, and under which condition."""
    found = set()
    for statement in document["Statement"]:
        principal = statement.get("Principal", "-")
        if isinstance(principal, dict) and list(principal.values()) == ["*"]:
            principal = "*"
        condition = {
            operator: {key: sorted(listed(values)) for key, values in keys.items()}
            for operator, keys in plain(statement.get("Condition", {})).items()
        }
        for action in listed(statement["Action"]):
            for resource in listed(statement.get("Resource", "-")):
                found.add(
                    (
                        statement["Effect"],
                        json.dumps(principal, sort_keys=True),
                        action,
                        resource,
                        json.dumps(condition, sort_keys=True),
                    )
                )
    return found


def normal(stack: stacks.Stack) -> dict[str, dict]:
    """Resources by name: type, policies at deletion, properties without order where order means nothing."""
    resources = copy.deepcopy(stack.resources)
    attached: dict[str, set[tuple]] = {}
    for name in [name for name, resource in resources.items() if resource["Type"] == "AWS::IAM::Policy"]:
        properties = resources.pop(name)["Properties"]
        for role in properties["Roles"]:
            attached.setdefault(role, set()).update(statements(properties["PolicyDocument"]))
    normalised = {}
    for name, resource in resources.items():
        properties = {key: value for key, value in resource["Properties"].items() if key not in DIFFERENCES}
        if resource["Type"] == "AWS::IAM::Role":
            rights = attached.pop(stack._ref(name), set())
            for policy in properties.pop("Policies", []):
                rights |= statements(policy["PolicyDocument"])
            properties["Rights"] = rights
            properties["AssumeRolePolicyDocument"] = statements(properties["AssumeRolePolicyDocument"])
        elif "PolicyDocument" in properties:
            properties["PolicyDocument"] = statements(properties["PolicyDocument"])
        properties = {key: value if isinstance(value, set) else plain(value) for key, value in properties.items()}
        if resource["Type"] == "AWS::CloudWatch::Alarm" and "Metrics" in properties:
            properties["Metrics"] = sorted(properties["Metrics"], key=lambda metric: metric["Id"])
        normalised[name] = {
            "Type": resource["Type"],
            "DeletionPolicy": resource.get("DeletionPolicy"),
            "UpdateReplacePolicy": resource.get("UpdateReplacePolicy"),
            **properties,
        }
    assert not attached, f"policies of roles that are not there: {set(attached)}"
    return normalised


@pytest.mark.parametrize("name", CASES)
def test_sam_and_cdk_make_the_same_resources(name, made, sam):
    ours, theirs = normal(made[name]), normal(sam_stack(sam, CASES[name]))
    assert set(ours) == set(theirs)
    different = {}
    more = CASES[name].get("onlySam", {})
    found = set()
    for resource, wanted in theirs.items():
        for key in wanted.keys() | ours[resource].keys():
            left, right = ours[resource].get(key), wanted.get(key)
            if key == "Rights":
                only = {right for right in right - left if right[2] in more}
                found |= {action for _, _, action, _, _ in only}
                right = right - only
            if left != right:
                sets = isinstance(left, set) and isinstance(right, set)
                different[f"{resource}.{key}"] = (
                    {"only CDK": sorted(left - right), "only SAM": sorted(right - left)}
                    if sets
                    else {"CDK": left, "SAM": right}
                )
    assert found == set(more), "what SAM alone grants"
    assert not different, json.dumps(different, indent=2, default=sorted)


@pytest.mark.parametrize("name", CASES)
def test_they_give_the_same_outputs(name, made, sam):
    ours, theirs = made[name], sam_stack(sam, CASES[name])

    def outputs(stack):
        declared = stack.template["Outputs"]
        return {key: (one["Description"], stack.value(one["Value"])) for key, one in declared.items()}

    assert outputs(ours) == outputs(theirs)


def test_what_may_differ_does(made, sam):
    found = set()
    for name, case in CASES.items():
        ours, theirs = made[name].resources, sam_stack(sam, case).resources
        for resource in set(ours) & set(theirs):
            left, right = ours[resource]["Properties"], theirs[resource]["Properties"]
            found |= {key for key in DIFFERENCES if left.get(key) != right.get(key)}
    assert found | {"PolicyName"} == set(DIFFERENCES)
