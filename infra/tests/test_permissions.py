"""The policies in docs/permissions.md are what the roles, and the scenarios' calls as other roles, need."""

import json
import re

import calls
import iam
import pytest
import stack as stacks

PAGE = (stacks.INFRA.parent / "docs" / "permissions.md").read_text()
POLICIES = {
    name: json.loads(text)
    for name, text in re.findall(r"<!-- policy: ([\w-]+) -->\n```json\n(.*?)```", PAGE, re.DOTALL)
}


def test_every_policy_of_the_page_is_checked_here():
    assert sorted(POLICIES) == ["queue-key", "repository", "role", "secret-key", "trust"]
    assert PAGE.count("```json") == len(POLICIES)


def statement(document: dict, sid: str) -> dict:
    (found,) = [statement for statement in document["Statement"] if statement["Sid"] == sid]
    return found


@pytest.mark.parametrize("name", ["repository", "trust", "secret-key"])
def test_both_roles_are_named(name, full):
    document = POLICIES[name]
    (found,) = document.get("Statement", [document])
    roles = [f"{full.arn(role)}-EXAMPLE" for role in ("OnPushRole", "FanoutRole")]
    assert found["Principal"]["AWS"] == roles


def test_other_accounts_allow_what_our_own_roles_may(full):
    own = {statement["Sid"]: statement for statement in iam.statements(full, "OnPushRole")}
    assert POLICIES["repository"]["Statement"][0]["Action"] == own["Write"]["Action"]
    for there in POLICIES["role"]["Statement"]:
        if there["Sid"] in own:
            assert there["Action"] == own[there["Sid"]]["Action"], there["Sid"]
    assert {there["Sid"] for there in POLICIES["role"]["Statement"]} - own.keys() == set()
    assert POLICIES["secret-key"]["Action"] == own["Decrypt"]["Action"]
    assert POLICIES["queue-key"]["Action"] == own["QueueKey"]["Action"]


def test_what_scenarios_did_as_an_assumed_role_is_allowed_to_it(full):
    """Calls that are signed by a role's session, and requests with the tokens that it got."""
    policy, seen = POLICIES["role"]["Statement"], 0
    for scenario in calls.scenarios():
        needs = []
        for call in scenario.calls:
            if call["access_key"].startswith("ASIA222233334444"):
                needs += calls.call_needs(call, scenario.functions, full, set())
        for request in scenario.requests:
            if request["principal"].startswith("arn:aws:sts::222233334444:assumed-role/"):
                needs += calls.request_needs(request, scenario.functions)
        for need in needs:
            seen += 1
            assert iam.allowing(policy, need.action, need.resource, dict(need.context)), f"{scenario.name}: {need}"
    assert seen >= 10, f"only {seen} calls were made as another role"


def test_each_statement_of_the_template_is_on_the_page(full):
    sids = {s["Sid"] for role in ("OnPushRole", "FanoutRole", "SweepRole") for s in iam.statements(full, role)}
    shown = set(re.findall(r"`(\w+)`", PAGE))
    assert sids <= shown, sids - shown
    for role in ("OnPushRole", "FanoutRole"):
        for grant, _ in iam.grants(iam.statements(full, role)):
            if not grant.action.startswith("ec2:"):
                service, _, operation = grant.action.partition(":")
                assert re.search(rf"`({service}:)?{operation}`", PAGE), grant
