"""The stack as CloudFormation would get it: the template transformed offline, parameters and conditions filled in."""

from __future__ import annotations

import copy
import os
import re
from pathlib import Path

import yaml
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

INFRA = Path(__file__).resolve().parent.parent
TEMPLATE = INFRA / "sam" / "template.yaml"

ACCOUNT = "111122223333"
REGION = "us-east-1"
PSEUDO = {
    "AWS::AccountId": ACCOUNT,
    "AWS::Region": REGION,
    "AWS::Partition": "aws",
    "AWS::StackName": "transship",
    "AWS::URLSuffix": "amazonaws.com",
}
NOTHING = object()


class Policies:
    """SAM asks for the ARNs of managed policies, which nothing here may need."""

    def load(self):
        return {}


def transformed() -> dict:
    """The template after SAM's transform, with its intrinsic functions still in it."""
    os.environ.setdefault("AWS_DEFAULT_REGION", REGION)
    template = yaml_parse(TEMPLATE.read_text())
    for resource in template["Resources"].values():
        if resource["Type"] == "AWS::Serverless::Function":
            resource["Properties"]["CodeUri"] = "s3://bucket/key"
            # The CLI's, for `sam build`; CloudFormation is not told.
            resource.pop("Metadata")
    return transform(template, {}, Policies())


def template_text() -> dict:
    """SAM's template as it is written."""
    return yaml_parse(TEMPLATE.read_text())


class Stack:
    """A stack's resources, for given parameters: what `Ref`, `GetAtt`, `Sub`, `If` and the like come to."""

    def __init__(self, template: dict, **parameters: object):
        self.template = template
        declared = template["Parameters"]
        unknown = set(parameters) - set(declared)
        assert not unknown, f"no such parameters: {unknown}"
        self.parameters = {name: self._parameter(name, parameters.get(name)) for name in declared}
        self.conditions: dict[str, bool] = {}
        self.resources = {
            name: {**resource, "Properties": self.value(resource.get("Properties", {}))}
            for name, resource in template["Resources"].items()
            if self._holds(resource.get("Condition"))
        }

    def _parameter(self, name: str, given: object) -> object:
        declared = self.template["Parameters"][name]
        value = declared.get("Default") if given is None else given
        if declared["Type"] == "CommaDelimitedList":
            return value if isinstance(value, list) else str(value).split(",")
        if "AllowedPattern" in declared:
            assert re.fullmatch(declared["AllowedPattern"], str(value)), f"{name}: {value}"
        if "AllowedValues" in declared:
            assert str(value) in map(str, declared["AllowedValues"]), f"{name}: {value}"
        return str(value)

    def _holds(self, condition: str | None) -> bool:
        if condition is None:
            return True
        if condition not in self.conditions:
            self.conditions[condition] = self.value(self.template["Conditions"][condition])
        return self.conditions[condition]

    def of_type(self, kind: str) -> dict[str, dict]:
        """Properties by logical id."""
        return {name: r["Properties"] for name, r in self.resources.items() if r["Type"] == kind}

    def __getitem__(self, name: str) -> dict:
        return self.resources[name]["Properties"]

    def arn(self, name: str) -> str:
        """What a resource's ARN will look like; exact where its name is given."""
        resource = self.template["Resources"][name]
        properties = resource.get("Properties", {})
        own = f"arn:aws:{{}}:{REGION}:{ACCOUNT}:{{}}"
        match resource["Type"]:
            case "AWS::SQS::Queue":
                return own.format("sqs", self.value(properties["QueueName"]))
            case "AWS::Lambda::Function":
                return own.format("lambda", f"function:transship-{name}")
            case "AWS::Logs::LogGroup":
                return own.format("logs", f"log-group:{self.value(properties['LogGroupName'])}:*")
            case "AWS::Events::Rule":
                return own.format("events", f"rule/transship-{name}")
            case "AWS::CloudWatch::Alarm":
                return own.format("cloudwatch", f"alarm:transship-{name}")
            case "AWS::IAM::Role":
                return f"arn:aws:iam::{ACCOUNT}:role/transship-{name}"
        raise AssertionError(f"{name}: the ARN of a {resource['Type']}")

    def _ref(self, name: str) -> object:
        if name == "AWS::NoValue":
            return NOTHING
        if name in PSEUDO:
            return PSEUDO[name]
        if name in self.parameters:
            return self.parameters[name]
        resource = self.template["Resources"][name]
        properties = resource.get("Properties", {})
        match resource["Type"]:
            case "AWS::SQS::Queue":
                return f"https://sqs.{REGION}.amazonaws.com/{ACCOUNT}/{self.value(properties['QueueName'])}"
            case "AWS::Logs::LogGroup":
                return self.value(properties["LogGroupName"])
        return f"transship-{name}"

    def _attribute(self, name: str, attribute: str) -> str:
        if attribute == "Arn":
            return self.arn(name)
        assert attribute == "QueueName", f"{name}.{attribute}"
        return self.value(self.template["Resources"][name]["Properties"]["QueueName"])

    def _sub(self, text: str) -> str:
        def one(match: re.Match) -> str:
            name, _, attribute = match[1].partition(".")
            return self._attribute(name, attribute) if attribute else str(self._ref(name))

        return re.sub(r"\$\{([^}!]+)\}", one, text)

    def value(self, node: object) -> object:
        """`node` without intrinsic functions."""
        if isinstance(node, list):
            return [value for value in map(self.value, node) if value is not NOTHING]
        if not isinstance(node, dict):
            return copy.deepcopy(node)
        if len(node) == 1:
            ((function, argument),) = node.items()
            match function:
                case "Ref":
                    return self._ref(argument)
                case "Fn::GetAtt":
                    argument = argument.split(".") if isinstance(argument, str) else argument
                    return self._attribute(*argument)
                case "Fn::Sub":
                    return self._sub(argument)
                case "Fn::Join":
                    return argument[0].join(map(str, self.value(argument[1])))
                case "Fn::If":
                    return self.value(argument[1] if self._holds(argument[0]) else argument[2])
                case "Fn::Equals":
                    left, right = map(self.value, argument)
                    return str(left) == str(right)
                case "Fn::Not":
                    return not self.value(argument[0])
                case "Fn::And":
                    return all(map(self.value, argument))
                case "Fn::Or":
                    return any(map(self.value, argument))
                case "Condition" if isinstance(argument, str):
                    return self._holds(argument)
            assert not function.startswith("Fn::"), f"{function} is not known here"
        values = {key: self.value(value) for key, value in node.items()}
        return {key: value for key, value in values.items() if value is not NOTHING}


def to_yaml(template: dict) -> str:
    """For tools that read files."""
    return yaml.safe_dump(template, sort_keys=False)
