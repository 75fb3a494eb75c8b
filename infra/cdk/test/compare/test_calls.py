"""The CDK's roles allow every call that the scenarios recorded, for the configuration that made it, and nothing that nobody
calls. infra/tests/test_rights.py does the same with SAM's."""

from __future__ import annotations

import json
import re

import cdk  # isort: skip  (says where the others are)
import calls
import iam
import pytest
import stack as stacks
import test_rights

# Said of SAM's roles alone: scenarios read a parameter of their own, where the CDK makes one for each configuration, and know
# a key by its alias, which the recorded calls don't have.
ELSEWHERE = {"ssm:GetParameter", "kms:CreateGrant", "kms:DescribeKey", "kms:RetireGrant"}


def questions(scenario: calls.Scenario) -> list[dict]:
    """What judged.ts is to be asked for a scenario, one for each start of a function."""
    found = []
    backfills = [message["backfill"] for message in scenario.messages]

    def texts(values) -> list[str]:
        return [value for value in values if value and isinstance(value, str)]

    for start in scenario.starts:
        text = start["config"] or ""
        if text.startswith("ssm:"):
            text = next((call["parameter"] for call in scenario.calls if call["parameter"]), "{}")
        try:
            document = json.loads(text)
        except ValueError:
            continue
        if not isinstance(document, dict):
            continue
        account, region = start["access_key"][4:16], start["region"]
        beside = calls.parameters.derive(
            {"registries": document.get("registries", {})},
            account,
            region,
            sources=texts(message["source"] for message in scenario.messages),
            destinations=texts(message["destination"] for message in [*scenario.messages, *backfills]),
            listed=texts(backfill["repository"] for backfill in backfills),
        )
        # Anybody may read ECR Public: a source there takes a login alone.
        public = [f"arn:aws:ecr-public::{account}:repository/*"] if beside.public else []
        beside = beside.lists
        question = {
            "document": document,
            "account": account,
            "region": region,
            "pull": [*beside.get("SourceRepositoryArns", []), *public],
            "push": [*beside.get("DestinationRepositoryArns", []), *beside.get("PublicRepositoryArns", [])],
            "list": beside.get("ListedRegistryArns", []),
            "key": calls.KEY,
        }
        # Each run has ports of its own, which are no matter of rights; and so is the emulator's certificate.
        text = re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:5000", json.dumps(question))
        question = json.loads(text)
        for registry in question["document"].get("registries", {}).values():
            registry.pop("ca_certificate", None)
        found.append(question)
    return found


@pytest.fixture(scope="session")
def judged():
    """What was denied, and which actions each role was used for."""
    scenarios = [(scenario, questions(scenario)) for scenario in calls.scenarios()]
    distinct = list(dict.fromkeys(json.dumps(one, sort_keys=True) for _, asked in scenarios for one in asked))
    answers = dict(zip(distinct, cdk.run("judged.ts", [json.loads(one) for one in distinct]), strict=True))
    built = {question: cdk.stack(answer) for question, answer in answers.items() if isinstance(answer, dict)}
    denied, used, seen = set(), {role: set() for role in test_rights.ROLES.values()}, 0
    for scenario, asked in scenarios:
        own = [built[key] for one in asked if (key := json.dumps(one, sort_keys=True)) in built]
        for need in scenario.needs(own[0]) if own else []:
            for function in need.functions if need.action not in ELSEWHERE else ():
                role = test_rights.ROLES[function]
                seen += 1
                found = [
                    grant
                    for stack in own
                    for grant in iam.allowing(iam.statements(stack, role), need.action, need.resource, dict(need.context))
                ]
                used[role] |= {grant.action for grant in found}
                if not found:
                    denied.add(f"{scenario.name}: {role}: {need.action} on {need.resource}")
    return denied, used, seen


def test_the_ledger_is_there():
    assert calls.scenarios(), f"{calls.FOLDER} has no calls: run `make test` or `make calls` first; `make cdk` does"


def test_every_call_is_allowed(judged):
    denied, _, seen = judged
    assert not denied, "\n".join(sorted(denied))
    assert seen > 1000


def test_an_action_that_nobody_calls_is_not_granted(judged):
    _, used, _ = judged
    everything = cdk.stack(cdk.cases()["everything"])
    everything.parameters["QueueKeyArn"] = "-"
    platform = test_rights.platform(everything)
    policies = everything.of_type("AWS::IAM::Policy").values()
    # What both roles have is for the code of both: that one of them needed it is enough.
    shared = {statement["Sid"] for policy in policies for statement in policy["PolicyDocument"]["Statement"]}
    for role in used:
        needed = {action for action, _, _ in platform[role]} | ELSEWHERE
        for grant, _ in iam.grants(iam.statements(everything, role)):
            by = set.union(*used.values()) if grant.sid in shared else used[role]
            assert grant.action in by | needed, f"{role}: {grant}"
