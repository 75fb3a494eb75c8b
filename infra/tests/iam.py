"""IAM's evaluation of identity policies, as far as ours go: Allow and Deny, wildcards, a few condition operators.

Source: IAM user guide, "Policy evaluation logic" and "IAM JSON policy elements".
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

import stack as stacks


def as_list(value: object) -> list:
    return value if isinstance(value, list) else [value]


@functools.cache
def _pattern(text: str, ignore_case: bool) -> re.Pattern:
    body = "".join({"*": ".*", "?": "."}.get(char, re.escape(char)) for char in text)
    return re.compile(body, re.DOTALL | (re.IGNORECASE if ignore_case else 0))


def like(pattern: str, text: str, ignore_case: bool = False) -> bool:
    """Whether `text` fits; `*` is any text, slashes and colons too, `?` one character."""
    return _pattern(pattern, ignore_case).fullmatch(text) is not None


def holds(condition: dict, context: dict[str, str]) -> bool:
    """Whether every operator and key of a condition holds; a key that the request lacks makes it fail."""
    for operator, keys in condition.items():
        for key, wanted in keys.items():
            given = context.get(key)
            if given is None:
                return False
            wanted = list(map(str, as_list(wanted)))
            match operator:
                case "StringEquals":
                    good = given in wanted
                case "StringLike" | "ArnLike" | "ArnEquals":
                    good = any(like(pattern, given) for pattern in wanted)
                case "Bool":
                    good = given.lower() in [text.lower() for text in wanted]
                case _:
                    raise AssertionError(f"the condition operator {operator} is not known here")
            if not good:
                return False
    return True


@dataclass(frozen=True)
class Grant:
    """One action of one statement."""

    sid: str
    action: str


def statements(stack: stacks.Stack, role: str) -> list[dict]:
    """All statements of a role: its own, and those of policies that it is named in."""
    properties = stack[role]
    assert not properties.get("ManagedPolicyArns"), f"{role} has managed policies"
    documents = [policy["PolicyDocument"] for policy in properties.get("Policies", [])]
    for policy in stack.of_type("AWS::IAM::Policy").values():
        if stack._ref(role) in policy["Roles"]:
            documents.append(policy["PolicyDocument"])
    return [statement for document in documents for statement in document["Statement"]]


def grants(policy: list[dict]) -> Iterator[tuple[Grant, dict]]:
    """Every action that is allowed, with its statement."""
    for statement in policy:
        if statement["Effect"] == "Allow":
            for action in as_list(statement["Action"]):
                yield Grant(statement["Sid"], action), statement


def _applies(statement: dict, action: str, resource: str, context: dict[str, str]) -> bool:
    return (
        any(like(pattern, action, ignore_case=True) for pattern in as_list(statement["Action"]))
        and any(like(pattern, resource) for pattern in as_list(statement["Resource"]))
        and holds(statement.get("Condition", {}), context)
    )


def allowing(policy: list[dict], action: str, resource: str, context: dict[str, str] | None = None) -> list[Grant]:
    """What allows a call; nothing where none does, or where a statement denies it."""
    context = context or {}
    matching = [statement for statement in policy if _applies(statement, action, resource, context)]
    if any(statement["Effect"] == "Deny" for statement in matching):
        return []
    return [Grant(statement["Sid"], action) for statement in matching]
