"""What the demo runs on: the emulated registries, and the function as `cargo lambda` serves it."""

import json
import os
import pathlib
import subprocess
import time

from failure import Failure
from processes import Child, free_port, wait_for_port

ROOT = pathlib.Path(__file__).resolve().parents[2]
FOLDER = ROOT / ".demo"

# Chosen: a usual size of a function, and far more time than a slow and busy machine needs.
MEMORY_MB = 512
TIMEOUT_S = 120


class Stage:
    """The emulated registries and AWS APIs."""

    def __init__(self, emulator, children):
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.child = Child("the registries", [emulator, "stage", "--dir", FOLDER], FOLDER / "stage.log", **pipes)
        children.append(self.child)
        self.about = self.answer()

    def report(self):
        """What the registries were asked since the last report."""
        print("report", file=self.child.process.stdin, flush=True)
        return self.answer()

    def answer(self):
        line = self.child.process.stdout.readline()
        if not line:
            raise Failure("the registries ended")
        return json.loads(line)


class Function:
    """Both functions as `cargo lambda` serves them: the binaries that are deployed, over the Lambda Runtime API."""

    def __init__(self, stage, children):
        variables = {
            "TRANSSHIP_CONFIG": "file:config.json",
            "LAMBDA_TASK_ROOT": FOLDER,
            "TRANSSHIP_QUEUE_URL": stage.about["queue_url"],
            "TRANSSHIP_DEAD_LETTER_QUEUE_URL": stage.about["dead_letter_queue_url"],
            "AWS_ENDPOINT_URL": stage.about["aws_endpoint_url"],
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "AKIA111122223333",
            "AWS_SECRET_ACCESS_KEY": "demo",
            "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": MEMORY_MB,
            "AWS_LAMBDA_LOG_GROUP_NAME": "/aws/lambda/on-push",
            "AWS_LAMBDA_LOG_STREAM_NAME": "demo",
        }
        file = FOLDER / "function.env"
        file.write_text("".join(f"{name}={value}\n" for name, value in variables.items()))
        self.environment = clean_environment()
        self.port = free_port()
        # The very form of `cargo build` that the Makefile used, so that nothing is built again.
        options = ["-A", "127.0.0.1", "-P", self.port, "--ignore-changes", "--release", "--frozen", "--env-file", file]
        command = ["cargo", "lambda", "watch", *options]
        self.child = Child("cargo lambda watch", command, FOLDER / "function.log", env=self.environment)
        children.append(self.child)
        wait_for_port(self.port, self.child)

    def push(self, event):
        """Hands a push event to `on-push`; gives its one result and how long the whole invocation took."""
        answer, wall = self.invoke("on-push", event)
        (result,) = answer["results"]
        return result, wall

    def invoke(self, name, event, quiet=False):
        """Hands an event to a function; gives its answer and how long the whole invocation took."""
        if not quiet:
            print(f"$ cargo lambda invoke {name} --data-file {event}")
        started = time.monotonic()
        command = ["cargo", "lambda", "invoke", "-A", "127.0.0.1", "-P", str(self.port), name, "-F", event]
        try:
            ended = subprocess.run(
                command, env=self.environment, capture_output=True, text=True, timeout=TIMEOUT_S, check=False
            )
        except subprocess.TimeoutExpired as error:
            raise Failure(f"the function did not answer within {TIMEOUT_S} s") from error
        self.child.check()
        if ended.returncode != 0:
            raise Failure(f"the invocation failed:\n{ended.stdout}{ended.stderr}")
        return json.loads(ended.stdout), time.monotonic() - started

    def backfills(self):
        """What `fanout` logged of backfills so far."""
        lines = [line for line in self.child.tail(lines=10_000) if line.startswith("{")]
        return [told["backfill"] for told in map(json.loads, lines) if told.get("message") == "backfill"]


def clean_environment():
    """The person's own AWS settings must not reach the function; cargo's and the compilers' must."""

    def passes(name):
        return not name.startswith(("AWS_", "TRANSSHIP_")) or name.startswith("AWS_LC_")

    kept = {name: value for name, value in os.environ.items() if passes(name)}
    path = f"{ROOT / '.venv/bin'}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
    return {**kept, "PATH": path, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
