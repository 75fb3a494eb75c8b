"""The saved queries, and those of the dashboard, find what they are for in the lines that the functions wrote."""

from __future__ import annotations

import json
import re

import calls
import insights
import pytest
import stack as stacks

FOLDER = stacks.INFRA / "operations"
QUERIES = json.loads((FOLDER / "queries.json").read_text())
WIDGETS = {
    widget["properties"]["title"]: widget["properties"]["query"]
    for widget in json.loads((FOLDER / "dashboard.json").read_text())["widgets"]
    if widget["type"] == "log"
}
ALL = QUERIES | WIDGETS

# What Lambda itself writes at the end of an invocation, as it writes it where logs are JSON.
# Source: Lambda developer guide, "Lambda telemetry API: platform.report" and "Log formats".
METRICS = {"durationMs": 812.5, "billedDurationMs": 900, "memorySizeMB": 512, "maxMemoryUsedMB": 31}
REPORTS = [
    {"status": "success", "metrics": METRICS | {"initDurationMs": 41.2}},
    {"status": "timeout", "metrics": METRICS | {"durationMs": 900_000.0, "billedDurationMs": 900_000}},
    {"status": "error", "errorType": "Runtime.ExitError", "metrics": METRICS},
]


@pytest.fixture(scope="session")
def lines() -> list[dict]:
    """All lines, with what CloudWatch knows of them itself."""
    said = calls.said()
    assert said, f"{calls.FOLDER} has no log lines: run `make test` or `make calls` first; `make infra` does"
    platform = [
        {"time": "2026-11-23T04:00:00.000Z", "type": "platform.report", "record": {"requestId": f"r-{number}", **record}}
        for number, record in enumerate(REPORTS)
    ]
    every = [*calls.metrics(), *said, *platform]
    return [{**line, "@timestamp": at, "@log": "111122223333:/transship/a"} for at, line in enumerate(every)]


def asked(name: str, lines: list[dict]) -> str:
    """A query with its places filled in, as whoever uses it does."""
    image = next(line["result"]["source"] for line in lines if line.get("message") == "result")
    named = re.escape("/".join(image.split("/")[-2:])).replace("/", r"\/")
    return ALL[name].replace("REPOSITORY:TAG", named)


def columns(query: str) -> list[str]:
    """What a query's rows have, in order."""
    last = re.split(r"\|\s*(?=stats |fields )", query)[-1]
    last = last.split("|")[0].strip()
    if last.startswith("fields "):
        return [name.strip() for name in last.removeprefix("fields ").split(",")]
    by = last.partition(" by ")[2]
    groups = [name.strip() for name in re.split(r",(?![^(]*\))", by) if name]
    return re.findall(r"\bas (\w+)", last) + groups


def lacking(query: str, lines: list[dict]) -> list[str]:
    """Columns that no row has; `rows` where there is none."""
    rows = insights.Query(query).run(lines)
    return [name for name in columns(query) if all(name not in row for row in rows)] if rows else ["rows"]


@pytest.mark.parametrize("name", ALL)
def test_a_query_finds_rows_and_fills_each_of_its_columns(name, lines):
    assert lacking(asked(name, lines), lines) == []


@pytest.mark.parametrize(
    ("name", "written", "wrong", "seen"),
    [
        ("failures", "result.error_type", "result.error", ["result.error"]),
        ("failures", '"failed"', '"failure"', ["rows"]),
        ("backfill-failed", "error_type, error_message,", "type_of_error, error_message,", ["type_of_error"]),
        ("backfill-failed", "a repository could not", "a repository can not", ["repository", "error_type", "error_message"]),
        ("lag", "pct(ReplicationLag, 50)", "pct(Lag, 50)", ["p50_ms"]),
        ("died", "record.errorType", "record.error_type", ["record.error_type"]),
        ("throttling", "result.throttled >", "result.throttles >", ["rows"]),
    ],
)  # fmt: skip
def test_a_query_for_what_nobody_writes_would_be_seen(name, written, wrong, seen, lines):
    query = asked(name, lines)
    assert query.count(written) == 1
    assert lacking(query.replace(written, wrong), lines) == seen


def fields(query: str) -> set[str]:
    """The fields of log lines that a query reads."""
    text = re.sub(r'"[^"]*"|/(?:[^/\\]|\\.)*/|\'[^\']*\'', "", query)
    text = re.sub(r"\bbin\([^)]*\)", "", text)
    made = set(re.findall(r"\bas (\w+)", text))
    words = set(re.findall(r"[@A-Za-z_][\w.@]*", re.sub(r"\bas \w+|\w+(?=\()", "", text)))
    keywords = {"filter", "fields", "stats", "sort", "limit", "by", "desc", "asc", "and", "or", "like", "SOURCE"}
    return {word for word in words - keywords - made if not word.startswith("@")}


def written(lines: list[dict]) -> set[str]:
    return {name for line in lines for name in insights.flat(line)}


def test_queries_read_only_fields_that_are_written(lines):
    """Those too of which a filter has others beside."""
    known = written(lines)
    for name, query in ALL.items():
        assert fields(query) <= known, f"{name}: {fields(query) - known}"


def test_what_they_find_is_what_they_are_for(lines):
    def rows(name: str) -> list[insights.Row]:
        return insights.Query(asked(name, lines)).run(lines)

    assert {row["record.status"] for row in rows("died") if "record.status" in row} == {"timeout", "error"}
    assert any(row.get("error_type") == "InvalidConfig" for row in rows("died")), "the init phase says it in our words"
    failed = [line for line in lines if line.get("message") == "result" and line["result"]["outcome"] == "failed"]
    by_destination = rows("failures-by-destination")
    assert sum(row["failed"] for row in by_destination) == len(failed)
    assert {row["result.error_type"] for row in by_destination} >= {"Denied", "SourceNotFound", "TagImmutable"}
    pushes = [line for line in lines if "ReplicationLag" in line]
    assert sum(row["pushes"] for row in rows("lag")) == len(pushes)
    assert all(row["p50_ms"] <= row["p95_ms"] <= row["longest_ms"] for row in rows("lag"))
    (functions,) = rows("functions")
    assert (functions["invocations"], functions["longest_ms"]) == (3, 900_000.0)


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ('filter a.b = "x" and c > 1 or d != "y" | fields c', [{"c": 2}, {}]),
        ("filter ispresent(c) | sort c desc | limit 1 | fields c", [{"c": 2}]),
        ("filter a.b like /^x$/ | stats count(*) as n, pct(c, 50) as half by d, bin(1h)", [{"d": "y", "bin(1h)": 0, "n": 2, "half": 1}]),
        ("filter e = 1 | fields e", [{"e": 1}]),
    ],
)  # fmt: skip
def test_queries_are_run_as_cloudwatch_does(query, expected):
    lines = [{"a": {"b": "x"}, "c": 2, "d": "y"}, {"a": {"b": "x"}, "c": 1, "d": "y"}, {"d": "z", "e": True}]
    assert insights.Query(query).run(lines) == expected
