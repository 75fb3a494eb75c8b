"""What the scenarios asked of AWS, from the ledger that `make test` leaves, and the rights that it takes."""

from __future__ import annotations

import json
import os
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import parameters
import stack as stacks

ROOT = stacks.INFRA.parent
FOLDER = Path(
    os.environ.get("TRANSSHIP_AWS_CALLS") or Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "aws-calls"
)

KEY = "arn:aws:kms:us-east-1:111122223333:key/66666666-7777-8888-9999-000000000000"

# The IAM actions of an operation; its own name where it is not here.
# Source: Service Authorization Reference, and for the registries' own protocol "Logging Amazon ECR actions with AWS
# CloudTrail" in the ECR user guide: it calls the same API inside.
ACTIONS = {
    "sqs:SendMessageBatch": ["sqs:SendMessage"],
    "sqs:ChangeMessageVisibilityBatch": ["sqs:ChangeMessageVisibility"],
    # ECR API reference, ListImageReferrers: "requires ecr:BatchGetImage".
    "ecr:ListImageReferrers": ["ecr:BatchGetImage"],
    # ECR Public user guide, "Registry authentication": the login takes a service token.
    "ecr-public:GetAuthorizationToken": ["ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"],
}
# Of a registry's own protocol: the closing PUT carries the bytes as well, and anybody may read ECR Public.
REQUESTS = {
    "ecr:CompleteLayerUpload": ["ecr:UploadLayerPart", "ecr:CompleteLayerUpload"],
    "ecr-public:CompleteLayerUpload": ["ecr-public:UploadLayerPart", "ecr-public:CompleteLayerUpload"],
    "ecr-public:BatchGetImage": [],
    "ecr-public:GetDownloadUrlForLayer": [],
    "ecr-public:ListImages": [],
    "ecr-public:ListImageReferrers": [],
}
# Tests of the tests start other programs.
FUNCTIONS = {"on-push", "fanout"}

# What AWS has no resources for.
WITHOUT_RESOURCE = {"ecr:GetAuthorizationToken", "ecr-public:GetAuthorizationToken", "sts:GetServiceBearerToken"}


@dataclass(frozen=True)
class Need:
    """An action on a resource, by one function or, where it can't be told, by each that ran."""

    functions: tuple[str, ...]
    action: str
    resource: str
    context: tuple[tuple[str, str], ...] = ()


@dataclass
class Scenario:
    """One test: what its functions were configured for, and what they asked."""

    name: str
    starts: list[dict] = field(default_factory=list)
    messages: list[dict] = field(default_factory=list)
    calls: list[dict] = field(default_factory=list)
    requests: list[dict] = field(default_factory=list)

    @property
    def functions(self) -> tuple[str, ...]:
        return tuple(sorted({start["function"] for start in self.starts}))

    def _own_key(self, access_key: str) -> bool:
        """Keys of the functions themselves; others are assumed roles', or a registry's own identity."""
        return access_key in {start["access_key"] for start in self.starts}

    def _own_principal(self, request: dict) -> bool:
        accounts = {start["access_key"][4:16] for start in self.starts}
        # The exchange of ECR Public's token knows its user as `AWS`; only an assumed role writes to another account's.
        if request["principal"] == "AWS":
            return request["account"] in accounts
        return request["principal"] in {f"arn:aws:iam::{account}:user/transship" for account in accounts}

    def given(self) -> list[dict[str, str]]:
        """The template's parameters for this scenario: from its configurations, and what its messages name beside
        them. A stack reads one parameter of SSM, so that a test of several has several."""
        found: dict[str, list[str]] = defaultdict(list)
        names: set[str] = set()
        values: dict[str, str] = {}
        backfills = [message["backfill"] for message in self.messages]

        def texts(values) -> list[str]:
            # Messages that can't be right name what is no text.
            return [value for value in values if value and isinstance(value, str)]

        for start in self.starts:
            config = start["config"] or ""
            if config.startswith("ssm:"):
                names.add("/" + config.removeprefix("ssm:").lstrip("/"))
                config = next((call["parameter"] for call in self.calls if call["parameter"]), "{}")
            try:
                document = json.loads(config)
            except ValueError:
                continue
            rights = parameters.derive(
                document if isinstance(document, dict) else {},
                start["access_key"][4:16],
                start["region"],
                sources=texts(message["source"] for message in self.messages),
                destinations=texts(message["destination"] for message in [*self.messages, *backfills]),
                listed=texts(backfill["repository"] for backfill in backfills),
            )
            for name, arns in rights.lists.items():
                found[name] += [arn for arn in arns if arn not in found[name]]
            values |= {name: value for name, value in rights.parameters().items() if value == "true"}
        if any("encryptionConfiguration" in call["request"] for call in self.calls):
            found["RepositoryKeyArns"] = [KEY]
        if any(call["operation"] in ("GetSecretValue", "GetParameter") for call in self.calls):
            found["KeyArns"] = [KEY]
        values |= {name: ",".join(arns) for name, arns in found.items()}
        return [{**values, "ConfigurationParameter": name} for name in sorted(names)] or [
            {**values, "Configuration": "{}"}
        ]

    def needs(self, stack: stacks.Stack) -> list[Need]:
        dead = {start["dead_letters"] for start in self.starts}
        needs = []
        for call in self.calls:
            if self._own_key(call["access_key"]):
                functions = (call["function"],) if call["function"] else self.functions
                needs += call_needs(call, functions, stack, dead)
        for request in self.requests:
            if self._own_principal(request):
                needs += request_needs(request, self.functions)
        return needs


def repository(service: str, region: str, account: str, name: str) -> str:
    where = parameters.partition(region)
    return f"arn:{where}:{service}:{'' if service == 'ecr-public' else region}:{account}:repository/{name}"


def call_needs(call: dict, functions: tuple[str, ...], stack: stacks.Stack, dead: set) -> list[Need]:
    service, region, request = call["service"], call["region"], call["request"]
    operation = f"{service}:{call['operation']}"
    account = call["access_key"][4:16]
    own = f"arn:aws:{{}}:{region}:{account}:{{}}"
    match service:
        case "ecr" | "ecr-public":
            # A list of all repositories is asked of the wildcard.
            # Source: the denials that AWS words so ("on resource: arn:aws:ecr:…:repository/*").
            name = request.get("repositoryName", "*")
            resource = repository(service, region, request.get("registryId", account), name)
            if call["operation"] == "DescribeRegistries":
                resource = resource.replace("repository/*", f"registry/{account}")
        case "sqs":
            resource = stack.arn("DeadLetters" if request["QueueUrl"] in dead else "Queue")
        case "secretsmanager":
            secret = request["SecretId"]
            # AWS appends six characters to the name, and a policy is asked for the whole.
            if not secret.startswith("arn:"):
                resource = own.format("secretsmanager", f"secret:{secret}-AbCdEf")
            else:
                whole = parameters.re.search(r"-(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{6}$", secret)
                resource = secret if whole else f"{secret}-AbCdEf"
        case "ssm":
            resource = own.format("ssm", f"parameter/{request['Name'].split(':')[0].lstrip('/')}")
        case "sts":
            resource = request.get("RoleArn", "*")
        case _:
            raise AssertionError(f"{operation} has no resource here")
    context = (("sts:AWSServiceName", "ecr-public.amazonaws.com"),)
    needs = [
        Need(functions, action, "*" if action in WITHOUT_RESOURCE else resource, context)
        for action in ACTIONS.get(operation, [operation])
    ]
    if call["operation"] == "CreateRepository" and request.get("tags"):
        needs.append(Need(functions, f"{service}:TagResource", resource))
    if (request.get("encryptionConfiguration") or {}).get("kmsKey"):
        # ECR user guide, "Encryption at rest": who creates the repository must be able to grant ECR the key.
        via = (("kms:ViaService", f"ecr.{region}.amazonaws.com"),)
        needs += [
            Need(functions, f"kms:{action}", KEY, via) for action in ("CreateGrant", "DescribeKey", "RetireGrant")
        ]
    if call["operation"] in ("GetSecretValue", "GetParameter"):
        via = (("kms:ViaService", f"{service}.{region}.amazonaws.com"),)
        needs.append(Need(functions, "kms:Decrypt", KEY, via))
    return needs


def request_needs(request: dict, functions: tuple[str, ...]) -> list[Need]:
    service, operation = request["service"], f"{request['service']}:{request['operation']}"

    def resource(name: str) -> str:
        # ECR Public's begin with an alias, which its ARNs have no place for.
        name = name.split("/", 1)[-1] if service == "ecr-public" else name
        return repository(service, request["region"], request["account"], name)

    actions = REQUESTS.get(operation, ACTIONS.get(operation, [operation]))
    needs = [Need(functions, action, resource(request["repository"] or "*")) for action in actions]
    if request["from"] and service == "ecr":
        # ECR user guide, "Blob mounting".
        needs.append(Need(functions, "ecr:GetDownloadUrlForLayer", resource(request["from"])))
    return needs


def lines() -> list[dict]:
    files = sorted(FOLDER.glob("*.jsonl"))
    return [{"binary": file.stem, **json.loads(line)} for file in files for line in file.read_text().splitlines()]


def scenarios() -> list[Scenario]:
    found: dict[str, Scenario] = {}
    for line in lines():
        name = f"{line['binary']} {line['test']}"
        scenario = found.setdefault(name, Scenario(name))
        kinds = {
            "start": scenario.starts,
            "message": scenario.messages,
            "call": scenario.calls,
            "request": scenario.requests,
        }
        ours = line["kind"] != "start" or line["function"] in FUNCTIONS
        if ours and (kept := kinds.get(line["kind"])) is not None:
            kept.append(line)
    # Without a function of ours, whoever asked was the test itself.
    return [scenario for scenario in found.values() if scenario.functions]


def metrics() -> list[dict]:
    """The lines with metrics that functions wrote, one of each shape in each test."""
    return [line["line"] for line in lines() if line["kind"] == "metrics" and line["function"] in FUNCTIONS]


def said() -> list[dict]:
    """The other lines that functions wrote, likewise."""
    return [line["line"] for line in lines() if line["kind"] == "said" and line["function"] in FUNCTIONS]
