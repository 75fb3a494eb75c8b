#!/usr/bin/env python3
"""A function that does what its event says: answer, exit, sleep, grow, or show its environment."""

import json
import os
import sys
import time
import urllib.request

BASE = "http://" + os.environ["AWS_LAMBDA_RUNTIME_API"] + "/2018-06-01/runtime/invocation/"
served = 0

if os.environ.get("FAIL_INIT"):
    sys.exit(7)

while True:
    with urllib.request.urlopen(BASE + "next") as answer:
        request_id = answer.headers["Lambda-Runtime-Aws-Request-Id"]
        left_ms = int(answer.headers["Lambda-Runtime-Deadline-Ms"]) - time.time() * 1000
        event = json.load(answer)
    served += 1
    print(json.dumps({"level": "INFO", "served": served}), flush=True)
    print("not json", file=sys.stderr, flush=True)
    if "exit" in event:
        os._exit(event["exit"])
    if "sleep" in event:
        time.sleep(event["sleep"])
    if "grow" in event:
        held = bytearray(event["grow"])
    result = {"served": served, "left_ms": left_ms, "environment": dict(os.environ), "folder": os.getcwd()}
    if "batchItemFailures" in json.dumps(event):
        result = json.loads(event["Records"][0]["body"])
    urllib.request.urlopen(BASE + request_id + "/response", json.dumps(result).encode()).read()
