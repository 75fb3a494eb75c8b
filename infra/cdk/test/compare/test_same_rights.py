"""The two derivations of rights from a configuration, infra/sam/parameters.py and the CDK's, come to the same: for
configurations that are put together at random, and for those of the scenarios, where `make test` has left them."""

from __future__ import annotations

import json
import random

import cdk  # isort: skip  (says where the others are)
import calls
import parameters

ACCOUNT, REGION = "111122223333", "us-east-1"
HOSTS = [
    "111122223333.dkr.ecr.us-east-1.amazonaws.com",
    "111122223333.dkr.ecr.eu-west-1.amazonaws.com",
    "222233334444.dkr.ecr.us-east-1.amazonaws.com",
    "333344445555.dkr.ecr.cn-north-1.amazonaws.com.cn",
    "public.ecr.aws",
    "ghcr.io",
    "registry.example.com:5000",
]
GLOBS = [
    None,
    "**",
    "*",
    "app",
    "team/app",
    "team/*",
    "team/**",
    "**/app",
    "a/**/b",
    "team/{a,b}",
    "{team/**,base}",
    "{a,b}/{c,d-*}/e",
    "v[0-9]/app?",
]
PATHS = ["{repository}", "mirror/{repository}:{tag}", "{name}", "acme/{name}:latest", "{name}@{digest}", "x/{tag}/y"]
SECRETS = [
    "env:TOKEN",
    "secretsmanager:ghcr",
    "secretsmanager:team/ghcr",
    "secretsmanager:our-secret",
    "secretsmanager:our-base64",
    "secretsmanager:arn:aws:secretsmanager:us-east-1:111122223333:secret:ghcr",
    "secretsmanager:arn:aws:secretsmanager:us-east-1:111122223333:secret:ghcr-AbC12d",
    "secretsmanager:arn:aws:secretsmanager:us-east-1:111122223333:secret:our-secret",
]
# What rules may say besides.
BESIDES = {
    "delete": ["untag", "image", None],
    "scan_gate": [{"severity": "HIGH"}, {"severity": "LOW", "wait_minutes": 7}, None],
    "referrers": [False, False, True, {"include": ["application/spdx+json"]}],
    "untagged": ["skip", "by-digest"],
}
POLICIES = [{}, {"lifecycle_policy": {"rules": []}}, {"repository_policy": "{}"}, {"tags": {"a": "b"}}]


def configuration(chance: random.Random) -> dict:
    """Any that is one, by its schema."""
    registries: dict = {}
    for host in chance.sample(HOSTS, chance.randint(0, 4)):
        entry: dict = {}
        if chance.random() < 0.3:
            entry["credentials"] = chance.choice(SECRETS)
        if "ecr" in host and chance.random() < 0.3:
            entry["role_arn"] = f"arn:aws:iam::222233334444:role/{chance.choice(['push', 'pull'])}"
        if "ecr" in host and chance.random() < 0.5:
            # ECR Public knows nothing of policies, and the functions refuse them.
            entry["create_repository"] = chance.choice(POLICIES[::3] if host == "public.ecr.aws" else POLICIES)
        if "dkr" in host and chance.random() < 0.1:
            entry["provider"] = "generic"
        registries[host] = entry
    rules = []
    for _ in range(chance.randint(0, 4)):
        source = {"registry": chance.choice([None, *HOSTS]), "repository": chance.choice(GLOBS)}
        destinations = [
            f"{chance.choice([*HOSTS, '{registry}'])}/{chance.choice(PATHS)}" for _ in range(chance.randint(1, 3))
        ]
        besides = {key: chance.choice(values) for key, values in BESIDES.items() if chance.random() < 0.3}
        source = {key: value for key, value in source.items() if value}
        rules.append({"source": source, "destinations": destinations, **besides})
    return {"rules": rules, "registries": registries}


def asked() -> list[dict]:
    chance = random.Random(7)
    found = [{"document": configuration(chance), "account": ACCOUNT, "region": REGION} for _ in range(400)]
    for scenario in calls.scenarios():
        for start in scenario.starts:
            try:
                document = json.loads(start["config"] or "")
            except ValueError:
                continue
            if isinstance(document, dict):
                found.append({"document": document, "account": start["access_key"][4:16], "region": start["region"]})
    return found


def test_sam_and_cdk_derive_the_same_rights():
    questions = asked()
    refused, seen = 0, 0
    for question, ours in zip(questions, cdk.run("access.ts", questions), strict=True):
        if isinstance(ours, str):
            # Configurations of scenarios that want to see a refusal.
            refused += 1
            continue
        rights = parameters.derive(question["document"], question["account"], question["region"])
        theirs = {name: set(values) for name, values in rights.lists.items()}
        theirs |= {name: {value} for name, value in rights.settings.items()}
        if rights.public:
            theirs["PublicRegistry"] = {"true"}
        ours = {name: set(values) for name, values in ours.items() if values}
        assert ours == {name: values for name, values in theirs.items() if values}, json.dumps(question["document"])
        seen += sum(map(len, ours.values()))
    assert refused < len(questions) / 10, f"{refused} of {len(questions)} were refused"
    assert seen > 1000
