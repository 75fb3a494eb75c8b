"""The CDK's stacks, as infra/tests/stack.py understands them."""

from __future__ import annotations

import copy
import functools
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
INFRA = HERE.parents[2]
sys.path[:0] = [str(INFRA / "tests"), str(INFRA / "sam")]

import stack as stacks  # noqa: E402


@functools.cache
def cases() -> dict:
    """The stacks of cases.json, by name."""
    return run("stacks.ts")


def run(script: str, question: object = None) -> object:
    """What one of the scripts beside this file answers."""
    done = subprocess.run(
        ["npx", "--no-install", "tsx", f"test/compare/{script}"],
        cwd=HERE.parents[1],
        input=json.dumps(question),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def renamed(node: object, names: dict[str, str]) -> object:
    """A template with the logical ids of the CDK replaced by SAM's."""
    if isinstance(node, list):
        return [renamed(value, names) for value in node]
    if not isinstance(node, dict):
        return node
    if set(node) == {"Ref"}:
        return {"Ref": names.get(node["Ref"], node["Ref"])}
    if set(node) == {"Fn::GetAtt"}:
        name, attribute = node["Fn::GetAtt"]
        return {"Fn::GetAtt": [names.get(name, name), attribute]}
    return {key: renamed(value, names) for key, value in node.items()}


def stack(made: dict) -> stacks.Stack:
    """A stack by the names of SAM's resources."""
    template = copy.deepcopy(made["template"])
    names = made["names"]
    # Parameters and rules are about the bootstrap stack's version, which `cdk deploy` looks at.
    template.pop("Rules", None)
    template["Parameters"] = {}
    template["Resources"] = renamed({names.get(name, name): one for name, one in template["Resources"].items()}, names)
    template["Outputs"] = renamed(template.get("Outputs", {}), names)
    return stacks.Stack(template)
