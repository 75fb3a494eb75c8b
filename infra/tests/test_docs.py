"""The documents of the infrastructure say what the template has."""

import json
import re

import sizing
import stack as stacks

README = (stacks.INFRA / "README.md").read_text()
DOCS = stacks.INFRA.parent / "docs"


def test_the_table_of_parameters_is_the_templates():
    shown = dict(re.findall(r"^\| `(\w+)`(?: \([^|]*\))? \| (?:`([^`]*)`)? ?\|", README, re.MULTILINE))
    declared = {name: str(p["Default"]) for name, p in stacks.template_text()["Parameters"].items()}
    assert {name: shown.get(name) for name in declared} == declared


def test_the_table_of_alarms_is_the_templates(full):
    shown = re.findall(r"^\| `(\w+Alarm)` \|", README, re.MULTILINE)
    assert sorted(shown) == sorted(full.of_type("AWS::CloudWatch::Alarm"))


def test_every_file_that_the_documents_name_is_there():
    pages = [
        stacks.INFRA / "README.md",
        *[DOCS / f"{name}.md" for name in ("deploy", "permissions", "sizing", "operations")],
    ]
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text()):
            assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_every_make_target_that_the_documents_name_is_there():
    makefile = (stacks.INFRA.parent / "Makefile").read_text()
    pages = [stacks.INFRA / "README.md", DOCS / "deploy.md", DOCS / "sizing.md"]
    for page in pages:
        for target in re.findall(r"(?:^|`)make ([a-z][a-z-]*)", page.read_text(), re.MULTILINE):
            assert re.search(rf"^{target}:", makefile, re.MULTILINE), f"{page.name}: make {target}"


def test_the_page_on_sizing_shows_what_is_calculated(full):
    page = " ".join((DOCS / "sizing.md").read_text().split())
    for memory in (128, 256, 384, 512, 1024, 1769):
        seconds, _, arm = sizing.terabyte(memory, "arm64")
        _, _, x86 = sizing.terabyte(memory, "x86_64")
        cells = [
            f"{memory:,} MB", f"{memory / sizing.MB_PER_CPU:.2f}", f"{sizing.cpu_mib_s(memory):.0f} MiB/s",
            f"{sizing.mib_s(memory):.0f} MiB/s", f"{seconds:,.0f} s", f"${arm:.2f}", f"${x86:.2f}",
        ]  # fmt: skip
        assert " | ".join(cells) in page.replace("**", ""), cells
    each = sizing.image_s(512)
    for concurrency in (2, 10, 50):
        rate = f"{concurrency / each:.1f}"
        minutes = 1000 * each / concurrency / 60
        terabyte = sizing.terabyte(512, "arm64")[0] / concurrency / 60
        row = [
            str(concurrency), rate,
            f"{minutes * 60:.0f} s" if minutes < 1 else f"{minutes:.2g} min",
            f"{terabyte / 60:.1f} h" if terabyte > 60 else f"{terabyte:.2g} min",
        ]  # fmt: skip
        assert " | ".join(row) in page.replace("**", ""), row
    cost = sizing.thousand(512, "arm64")
    logs = sum(widget["type"] == "log" for widget in json.loads(full["Dashboard"]["DashboardBody"])["widgets"])
    total = sum(cost[part] for part in ("duration", "requests", "sqs", "logs", "traces"))
    for text in (
        f"1,000 × {cost['seconds']:.2f} s × 0.5 GB = {cost['gb_s']:,.0f} GB-s | ${cost['duration']:.3f}",
        f"${cost['requests']:.4f}",
        f"${cost['sqs']:.4f}",
        f"${cost['logs']:.4f}",
        f"${cost['traces']:.3f}",
        f"**${total:.3f}**",
        f"{cost['gb']:.1f} GB × $0.02 | ${cost['region']:.2f}",
        f"{cost['gb']:.1f} GB × $0.09 | ${cost['internet']:.2f}",
        f"{865 * sizing.NETWORK_MIB_S / 1024:.0f} GiB pass",
        f"a terabyte that goes to ECR costs ${1000 * sizing.ENDPOINT_GB:.0f},",
        f"at an ECR destination ${1000 * sizing.STORED_GB_MONTH:.0f} a month",
        f"3 × 2 × {sizing.HOURS} h × ${sizing.ENDPOINT_HOUR} = ${sizing.endpoints(3):.2f} to ${sizing.endpoints(6):.2f}",
        f"3 MB for each of {logs} widgets, ${logs * 0.003 * sizing.INSIGHTS_GB:.5f}.",
        f"with two destinations {sizing.metrics(2)}, at most ${sizing.metrics(2) * sizing.METRIC_MONTH:.2f}",
        f"{sizing.metrics(2, deletes=True)} where a rule has `delete`",
    ):
        assert text in page, text
    alarms = full.of_type("AWS::CloudWatch::Alarm").values()
    watched = sum(max(1, sum("MetricStat" in query for query in alarm.get("Metrics", []))) for alarm in alarms)
    assert f"alarms watch {watched} metrics, ${watched * sizing.ALARM_METRIC_MONTH:.2f}" in page


def test_the_calculation_counts_the_metrics_that_are_emitted():
    import calls

    shapes = {"Destination": set(), "Function": set()}
    for line in calls.metrics():
        for directive in line["_aws"]["CloudWatchMetrics"]:
            (dimensions,) = directive["Dimensions"]
            key = "Destination" if "Destination" in dimensions else "Function"
            shapes[key] |= {(line["Function"], metric["Name"]) for metric in directive["Metrics"]}
    assert sizing.metrics(1, deletes=True) == len(shapes["Destination"]) + len(shapes["Function"])
