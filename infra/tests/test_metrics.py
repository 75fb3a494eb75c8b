"""Metrics: what the functions write is CloudWatch's format, and alarms and dashboard name nothing else."""

import copy
import json
import re

import calls
import jsonschema
import pytest
import stack as stacks

NAMESPACE = "Transship"

# What AWS's services emit, as far as it is used here. Source: Lambda developer guide, "Types of metrics for Lambda
# functions"; SQS developer guide, "Available CloudWatch metrics for Amazon SQS".
AWS_METRICS = {
    "AWS/Lambda": ({"FunctionName"}, {"Duration", "Errors", "Invocations", "Throttles"}),
    "AWS/SQS": (
        {"QueueName"},
        {
            "ApproximateAgeOfOldestMessage",
            "ApproximateNumberOfMessagesNotVisible",
            "ApproximateNumberOfMessagesVisible",
        },
    ),
}


@pytest.fixture(scope="session")
def lines() -> list[dict]:
    found = calls.metrics()
    assert found, f"{calls.FOLDER} has no metrics: run `make test` first, or `make infra`, which does"
    return found


@pytest.fixture(scope="session")
def emitted(lines) -> dict[tuple[str, ...], set[str]]:
    """Names of metrics by set of dimensions, as CloudWatch makes them of the lines."""
    found: dict[tuple[str, ...], set[str]] = {}
    for line in lines:
        for directive in line["_aws"]["CloudWatchMetrics"]:
            assert directive["Namespace"] == NAMESPACE
            for dimensions in directive["Dimensions"]:
                names = {metric["Name"] for metric in directive["Metrics"]}
                found.setdefault(tuple(sorted(dimensions)), set()).update(names)
    return found


def problems(line: dict) -> list[str]:
    """Where a line is not embedded metric format."""
    schema = json.loads((stacks.INFRA / "tests" / "emf.schema.json").read_text())
    found = [error.message for error in jsonschema.Draft202012Validator(schema).iter_errors(line)]
    if found:
        return found
    if len(json.dumps(line)) > 1 << 20:
        found.append("the line is over 1 MiB")
    for directive in line["_aws"]["CloudWatchMetrics"]:
        for name in {name for dimensions in directive["Dimensions"] for name in dimensions}:
            value = line.get(name)
            if not (isinstance(value, str) and 0 < len(value) <= 1024 and value.isascii() and value.isprintable()):
                found.append(f"the dimension {name} is {value!r}")
        for metric in directive["Metrics"]:
            values = line.get(metric["Name"])
            values = values if isinstance(values, list) else [values]
            numbers = [value for value in values if isinstance(value, (int, float)) and not isinstance(value, bool)]
            if len(numbers) != len(values) or not 0 < len(values) <= 100:
                found.append(f"the metric {metric['Name']} is {values!r}")
            # Source: CloudWatch API reference, PutMetricData: values from -2^360 to 2^360.
            elif any(abs(value) > 2.0**360 for value in numbers):
                found.append(f"the metric {metric['Name']} is out of range")
    return found


def test_every_line_is_embedded_metric_format(lines):
    assert [problem for line in lines for problem in problems(line)] == []
    assert {line["Function"] for line in lines} == {"on-push", "fanout"}


@pytest.mark.parametrize(
    "damage",
    [
        lambda line: line["_aws"].pop("Timestamp"),
        lambda line: line["_aws"].update(Timestamp="now"),
        lambda line: line["_aws"]["CloudWatchMetrics"][0].update(Namespace=""),
        lambda line: line["_aws"]["CloudWatchMetrics"][0].update(Dimensions=["Function"]),
        lambda line: line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0].update(Unit="Count/Minute"),
        lambda line: line["_aws"]["CloudWatchMetrics"][0]["Metrics"].extend([{"Name": f"M{n}"} for n in range(100)]),
        lambda line: line.pop("Function"),
        lambda line: line.update(Function=""),
        lambda line: line.update({line["_aws"]["CloudWatchMetrics"][0]["Metrics"][0]["Name"]: "1"}),
    ],
)
def test_a_line_that_is_not_would_be_seen(lines, damage):
    line = copy.deepcopy(lines[0])
    damage(line)
    assert problems(line)


def alarm_metrics(alarm: dict):
    """Namespace, name and dimensions of each metric that an alarm names."""
    queries = [query["MetricStat"]["Metric"] for query in alarm.get("Metrics", []) if "MetricStat" in query]
    for metric in queries or [alarm]:
        yield metric["Namespace"], metric["MetricName"], {d["Name"]: d["Value"] for d in metric["Dimensions"]}


def check(stack, emitted, namespace: str, name: str, dimensions: dict[str, str], where: str) -> None:
    if namespace == NAMESPACE:
        assert name in emitted.get(tuple(sorted(dimensions)), set()), (
            f"{where}: no function emits {name} by {sorted(dimensions)}"
        )
        assert dimensions["Function"] in {stack._ref("OnPush"), stack._ref("Fanout")}, where
        return
    by, names = AWS_METRICS[namespace]
    assert set(dimensions) == by, where
    assert name in names, where
    own = [stack._ref(function) for function in ("OnPush", "Fanout")]
    queues = [queue["QueueName"] for queue in stack.of_type("AWS::SQS::Queue").values()]
    assert set(dimensions.values()) <= set(own + queues), where


def test_alarms_name_only_metrics_that_are_emitted(full, emitted):
    alarms = full.of_type("AWS::CloudWatch::Alarm")
    assert sorted(alarms) == [
        "DeadLettersAlarm",
        "FailuresAlarm",
        "LagAlarm",
        "NearTimeoutAlarm",
        "QueueAgeAlarm",
        "ThrottlingAlarm",
    ]
    for name, alarm in alarms.items():
        for namespace, metric, dimensions in alarm_metrics(alarm):
            check(full, emitted, namespace, metric, dimensions, name)


def test_an_alarm_on_what_nobody_emits_would_be_seen(full, emitted):
    for dimensions, metric in (({"Function": "transship-OnPush"}, "Failures"), ({"Destination": "ghcr.io"}, "Failed")):
        with pytest.raises(AssertionError, match="no function emits"):
            check(full, emitted, NAMESPACE, metric, dimensions, "an alarm")


def test_alarms_use_every_metric_of_their_expressions_and_say_what_to_do(plain, full):
    operations = (stacks.INFRA.parent / "docs" / "operations.md").read_text()
    for name, alarm in full.of_type("AWS::CloudWatch::Alarm").items():
        assert alarm["TreatMissingData"] == "notBreaching", name
        assert alarm["AlarmActions"] == alarm["OKActions"] == [full.parameters["AlarmTopicArn"]]
        assert "AlarmActions" not in plain[name]
        assert name in alarm["AlarmDescription"]
        assert re.search(rf"^\| `{name}` \|", operations, re.MULTILINE), f"docs/operations.md has no line for {name}"
        queries = alarm.get("Metrics", [])
        for query in queries:
            if "Expression" in query:
                words = set(re.findall(r"\b[a-z][a-z0-9]*\b", query["Expression"]))
                assert words == {other["Id"] for other in queries if "MetricStat" in other}, name
        returned = [query["Id"] for query in queries if str(query["ReturnData"]).lower() == "true"]
        assert len(returned) == (1 if queries else 0), name


def widgets(stack) -> list[dict]:
    body = stack["Dashboard"]["DashboardBody"]
    assert "${" not in body
    return json.loads(body)["widgets"]


def test_the_dashboard_names_only_metrics_that_are_emitted(full, emitted):
    named = set()
    for widget in widgets(full):
        title = widget["properties"]["title"]
        if widget["type"] != "metric":
            continue
        for metric in widget["properties"]["metrics"]:
            if len(metric) == 1:
                found = re.fullmatch(
                    r"SEARCH\('\{Transship,Function,Destination\} MetricName=\"(\w+)\" "
                    r"Function=\(\"transship-OnPush\" OR \"transship-Fanout\"\)', '(\w+)', 300\)",
                    metric[0]["expression"],
                )
                assert found, metric
                name, dimensions = found[1], ("Destination", "Function")
                assert name in emitted[dimensions], f"{title}: {name}"
                named.add(name)
            else:
                namespace, name, *rest = metric[:-1]
                check(full, emitted, namespace, name, dict(zip(rest[::2], rest[1::2], strict=True)), title)
                named.add(name)
    missing = set().union(*emitted.values()) - named
    assert missing == set(), f"nobody sees {missing}"


def test_the_widgets_fit_side_by_side(full):
    taken = set()
    for widget in widgets(full):
        cells = {
            (x, y)
            for x in range(widget["x"], widget["x"] + widget["width"])
            for y in range(widget["y"], widget["y"] + widget["height"])
        }
        assert not cells & taken
        assert widget["x"] + widget["width"] <= 24
        taken |= cells
        if widget["type"] == "alarm":
            assert sorted(widget["properties"]["alarms"]) == sorted(
                map(full.arn, full.of_type("AWS::CloudWatch::Alarm"))
            )


def test_dashboard_and_queries_are_those_of_the_files(full):
    """`infra/operations` is what the CDK construct takes too."""
    written = stacks.template_text()["Resources"]
    folder = stacks.INFRA / "operations"
    assert (
        written["Dashboard"]["Properties"]["DashboardBody"]["Fn::Sub"].strip()
        == (folder / "dashboard.json").read_text().strip()
    )
    queries = {
        query["Name"].removeprefix("transship/"): query["QueryString"]
        for query in full.of_type("AWS::Logs::QueryDefinition").values()
    }
    assert queries == json.loads((folder / "queries.json").read_text())
