#!/usr/bin/env python3
"""Prints what the SAM template must be told of a configuration: the ARNs of all that it names.

    infra/sam/parameters.py --account 111122223333 --region us-east-1 config.json

The lines go into a block of infra/sam/samconfig.toml, or behind `--parameter-overrides` (with --shell). CloudFormation
can't read the configuration itself. What it does not name, because messages do, is added with --source, --destination
and --list.

A glob becomes an ARN with wildcards that is as narrow as IAM can say it: IAM's `*` crosses slashes, so that `team/*`
allows `team/a/b` too, which the rule itself then leaves alone.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import shlex
import sys
from dataclasses import dataclass, field
from pathlib import Path

# Hosts of private ECR: commercial, China, FIPS, dual-stack, isolated.
# Source: Amazon ECR user guide, "Endpoints".
ECR_HOST = re.compile(
    r"^(?P<account>\d{12})\.dkr[.-]ecr(-fips)?\.(?P<region>[a-z0-9-]+)\."
    r"(amazonaws\.(com(\.cn)?|eu)|on\.(aws|amazonwebservices\.com\.cn)|sc2s\.sgov\.gov|c2s\.ic\.gov|cloud\.adc-e\.uk|csp\.hci\.ic\.gov)$"
)
# Source: AWS General Reference, "Amazon Resource Names".
PARTITIONS = {"cn": "aws-cn", "us-gov": "aws-us-gov", "us-iso": "aws-iso", "us-isob": "aws-iso-b", "eusc": "aws-eusc"}
# Characters of a parameter's value. Source: CloudFormation user guide, "Quotas".
MOST = 4096
# Receives of a message: five tries as for any other; a scan_gate looks seven times while its wait doubles from 30 seconds
# to 15 minutes, and every 15 minutes from then on (docs/scan-gate.md). So many minutes it waits when it doesn't say.
RECEIVES, LOOKS, BETWEEN_LOOKS, WAIT_MINUTES = 5, 7, 15, 60
PLACES = re.compile(r"\{(registry|repository|name|tag|digest)\}")
GLOB = set("*?[{")


@dataclass
class Rights:
    """The lists of the template's parameters, in order and without repetitions."""

    lists: dict[str, list[str]] = field(default_factory=dict)
    public: bool = False
    settings: dict[str, str] = field(default_factory=dict)
    hints: list[str] = field(default_factory=list)

    def add(self, name: str, value: str) -> None:
        values = self.lists.setdefault(name, [])
        if value not in values:
            values.append(value)

    def hint(self, text: str) -> None:
        if text not in self.hints:
            self.hints.append(text)

    def parameters(self) -> dict[str, str]:
        found = {name: ",".join(values) for name, values in sorted(self.lists.items())}
        if self.public:
            found["PublicRegistry"] = "true"
        return found | dict(sorted(self.settings.items()))


def partition(region: str) -> str:
    prefixes = sorted(PARTITIONS, key=len, reverse=True)
    return next((PARTITIONS[prefix] for prefix in prefixes if region.startswith(f"{prefix}-")), "aws")


def wildcards(glob: str) -> list[str]:
    """A repository glob as IAM writes it; one text for each choice of its braces."""
    parts: list[list[str]] = [[""]]
    at = 0

    def put(text: str) -> None:
        parts.append([text])

    while at < len(glob):
        char = glob[at]
        if char == "\\" and at + 1 < len(glob):
            put(glob[at + 1])
            at += 2
        elif char == "*":
            while at < len(glob) and glob[at] == "*":
                at += 1
            put("*")
        elif char == "[" and "]" in glob[at + 2 :]:
            # A class is one character; IAM can't say which.
            put("?")
            at = glob.index("]", at + 2) + 1
        elif char == "{":
            depth, end, choices, begun = 1, at + 1, [], at + 1
            while end < len(glob) and depth:
                if glob[end] == "{":
                    depth += 1
                elif glob[end] == "}":
                    depth -= 1
                if (glob[end] == "," and depth == 1) or depth == 0:
                    choices.append(glob[begun:end])
                    begun = end + 1
                end += 1
            parts.append([text for choice in choices for text in wildcards(choice)])
            at = end
        else:
            put(char)
            at += 1
    texts = ["".join(chosen) for chosen in itertools.product(*parts)]
    # `**/` may stand for no component at all: `a/**/b` takes `a/b` too, for which `a/*/b` leaves no room.
    if (shorter := re.sub(r"(^|/)\*\*/", r"\1", glob)) != glob:
        texts += wildcards(shorter)
    return list(dict.fromkeys(texts))


class Derivation:
    def __init__(self, config: dict, account: str, region: str):
        self.config, self.account, self.region = config, account, region
        self.registries = config.get("registries", {})
        self.rights = Rights()

    def home(self) -> str:
        suffix = ".cn" if partition(self.region) == "aws-cn" else ""
        return f"{self.account}.dkr.ecr.{self.region}.amazonaws.com{suffix}"

    def entry(self, host: str) -> dict:
        return self.registries.get(host, {})

    def provider(self, host: str) -> str:
        if given := self.entry(host).get("provider"):
            return given
        if ECR_HOST.match(host):
            return "ecr"
        return "ecr-public" if host == "public.ecr.aws" else "other"

    def arns(self, host: str, repository: str) -> list[str] | None:
        """Repositories of ECR that this stack's own role is used at; `None` for what takes no right of it."""
        entry, provider = self.entry(host), self.provider(host)
        if entry.get("role_arn"):
            return None
        if provider == "ecr-public":
            # What comes first is the alias of the registry, which an ARN has no place for.
            name = repository.split("/", 1)[-1]
            return [f"arn:{partition(self.region)}:ecr-public::{self.account}:repository/{name}"]
        if provider != "ecr" or entry.get("credentials"):
            return None
        match = ECR_HOST.match(host)
        account = entry.get("account") or (match and match["account"]) or self.account
        region = entry.get("region") or (match and match["region"]) or self.region
        return [f"arn:{partition(region)}:ecr:{region}:{account}:repository/{repository}"]

    def source(self, host: str, glob: str | None, scanned: bool = False) -> None:
        public = self.provider(host) == "ecr-public"
        if public and not self.entry(host).get("role_arn") and not self.entry(host).get("credentials"):
            # Reading takes the login alone.
            self.rights.public = True
        for repository in wildcards(glob) if glob else ["*"]:
            for arn in [] if public else self.arns(host, repository) or []:
                self.rights.add("SourceRepositoryArns", arn)
                if scanned:
                    self.rights.add("ScannedRepositoryArns", arn)

    def listed(self, host: str) -> None:
        for arn in self.arns(host, "*") or []:
            if ":ecr:" in arn:
                self.rights.add("ListedRegistryArns", arn)

    def destination(self, host: str, repository: str, deletes: bool = False) -> None:
        public = self.provider(host) == "ecr-public"
        creation = self.entry(host).get("create_repository")
        if public and not self.entry(host).get("role_arn"):
            self.rights.public = True
        for arn in self.arns(host, repository) or []:
            self.rights.add("PublicRepositoryArns" if public else "DestinationRepositoryArns", arn)
            if deletes:
                self.rights.add("DeletedPublicRepositoryArns" if public else "DeletedRepositoryArns", arn)
            if creation is None:
                continue
            self.rights.add("CreatedPublicRepositoryArns" if public else "CreatedRepositoryArns", arn)
            if "lifecycle_policy" in creation or "repository_policy" in creation:
                self.rights.add("RepositoryPolicyArns", arn)
            encryption = creation.get("encryption") or {}
            key = encryption.get("kms_key")
            if key and key.startswith("arn:") and ":key/" in key:
                self.rights.add("RepositoryKeyArns", key)
            elif encryption.get("type", "AES256") != "AES256" and key:
                self.rights.hint(f"RepositoryKeyArns needs the ARN of the key {key}: IAM takes no alias and no bare ID")

    def template(self, text: str, host: str, glob: str | None, deletes: bool = False) -> None:
        """A rule's destination: its places filled with what the source may be."""
        for source in wildcards(glob) if glob else ["*"]:
            last = source.rsplit("/", 1)[-1]
            # A wildcard crosses slashes: what is behind the last one may be more than the last component.
            values = {"registry": host, "repository": source, "name": last, "tag": "*", "digest": "*"}
            filled = PLACES.sub(lambda match, values=values: values[match[1]], text)
            registry, _, rest = filled.partition("/")
            repository = rest.split("@", 1)[0]
            head, colon, tail = repository.rpartition(":")
            if colon and "/" not in tail:
                repository = head
            self.destination(registry, repository, deletes)

    def rules(self) -> None:
        self.events()
        for rule in self.config.get("rules", []):
            source = rule.get("source", {})
            named, glob = source.get("registry"), source.get("repository")
            host = named or self.home()
            deletes, scanned = (rule.get(key) is not None for key in ("delete", "scan_gate"))
            self.source(host, glob, scanned)
            # A backfill that names nothing lists what the rules name.
            if named and (not glob or GLOB & set(glob)):
                self.listed(host)
            for text in rule.get("destinations", []):
                self.template(text, host, glob, deletes)

    def events(self) -> None:
        """What else must be heard of, where it is not what the template has by itself, and how often a message may come."""
        rules = self.config.get("rules", [])
        gates = [rule["scan_gate"] for rule in rules if rule.get("scan_gate") is not None]
        if any(rule.get("delete") is not None for rule in rules):
            self.rights.settings["DeleteEvents"] = "true"
        if not any(hears_referrers(rule) for rule in rules):
            self.rights.settings["ReferrerEvents"] = "false"
        if gates:
            longest = max(gate.get("wait_minutes", WAIT_MINUTES) for gate in gates)
            self.rights.settings["ScanEvents"] = "true"
            self.rights.settings["MaximumReceives"] = str(RECEIVES + LOOKS + math.ceil(longest / BETWEEN_LOOKS))

    def registry_rights(self) -> None:
        for entry in self.registries.values():
            if role := entry.get("role_arn"):
                self.rights.add("RegistryRoleArns", role)
            where, _, secret = (entry.get("credentials") or "").partition(":")
            if where != "secretsmanager":
                continue
            named = not secret.startswith("arn:")
            if named:
                secret = f"arn:{partition(self.region)}:secretsmanager:{self.region}:{self.account}:secret:{secret}"
            # Secrets Manager appends a dash and six characters to a name. Whether an ARN has them can't always be told.
            if not named and re.search(r"-[A-Za-z0-9]{6}$", secret):
                self.rights.add("SecretArns", secret)
            if named or not re.search(r"-(?=[a-z]*[A-Z0-9])[A-Za-z0-9]{6}$", secret):
                self.rights.add("SecretArns", f"{secret}-??????")


def hears_referrers(rule: dict) -> bool:
    """Whether a rule takes what is attached to an image after it was pushed: as such, or as a push without a tag."""
    return rule.get("referrers", True) is not False or rule.get("untagged") == "by-digest"


def split(reference: str) -> tuple[str, str]:
    """Registry and repository of a reference."""
    host, _, rest = reference.partition("/")
    if not rest or not (set(".:") & set(host) or host == "localhost"):
        host, rest = "docker.io", reference
    repository = rest.split("@", 1)[0]
    head, colon, tail = repository.rpartition(":")
    return host, head if colon and "/" not in tail else repository


def derive(config: dict, account: str, region: str, sources=(), destinations=(), listed=()) -> Rights:
    """The rights that a configuration needs, and those for what messages name beside it."""
    derivation = Derivation(config, account, region)
    derivation.rules()
    derivation.registry_rights()
    for reference in sources:
        derivation.source(*split(reference))
    for reference in destinations:
        host, repository = split(reference)
        derivation.template(f"{host}/{repository}", derivation.home(), None)
    for reference in listed:
        host, glob = split(reference)
        derivation.source(host, glob)
        derivation.listed(host)
    return derivation.rights


def mistakes(config: object) -> list[str] | None:
    """What is wrong with the shape of a configuration; `None` where this Python has no package `jsonschema` to tell."""
    try:
        import jsonschema
    except ImportError:
        return None
    schema = json.loads(
        (Path(__file__).resolve().parents[2] / "docs" / "config.schema.json").read_text(encoding="utf-8")
    )
    errors = jsonschema.Draft202012Validator(schema).iter_errors(config)
    return [f"{error.json_path}: {error.message}" for error in errors]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("config", help="the configuration, a JSON file")
    parser.add_argument("--account", required=True, help="the account that the stack is in")
    parser.add_argument("--region", required=True, help="the region that the stack is in")
    parser.add_argument("--source", action="append", default=[], help="HOST/REPOSITORY that messages name as a source")
    parser.add_argument(
        "--destination", action="append", default=[], help="HOST/REPOSITORY that messages name as a destination"
    )
    parser.add_argument("--list", action="append", default=[], help="HOST/GLOB that backfill messages name")
    parser.add_argument("--shell", action="store_true", help="quoted for a shell, instead of lines for samconfig.toml")
    arguments = parser.parse_args()
    with open(arguments.config, encoding="utf-8") as file:
        config = json.load(file)
    wrong = mistakes(config)
    if wrong:
        print(f"{arguments.config}:", *wrong, sep="\n  ", file=sys.stderr)
        return 1
    if wrong is None:
        print(
            "not checked against docs/config.schema.json: this Python has no jsonschema (.venv-infra has)",
            file=sys.stderr,
        )
    rights = derive(
        config, arguments.account, arguments.region, arguments.source, arguments.destination, arguments.list
    )
    for name, value in rights.parameters().items():
        if len(value) > MOST:
            rights.hint(f"{name} has {len(value)} characters, CloudFormation takes {MOST}: write globs, or use the CDK")
        assignment = f"{name}={value}"
        print(shlex.quote(assignment) if arguments.shell else f"    {json.dumps(assignment)},")
    for hint in rights.hints:
        print(hint, file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
