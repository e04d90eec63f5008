"""What is watched: rules that promtool accepts, over metrics that exist, each with a page of advice."""

import json
import re
import shutil
import subprocess
from itertools import combinations
from pathlib import Path
from typing import Any

import fakeredis
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from contract.broker.ledger import Ledger
from contract.broker.process_report import ProcessReport
from contract.broker.reports import Reports
from contract.broker.uploads import Uploads
from contract.records import PartOutcome
from contract.settings import load_settings
from producer.api.monitoring import alerts as judged
from producer.api.monitoring.metrics import ApiMetrics
from producer.api.monitoring.storage_watch import StorageWatch
from worker.monitoring.device import DeviceUse
from worker.monitoring.metrics import WorkerMetrics
from worker.pipeline.run import Timings

REPOSITORY = Path(__file__).resolve().parents[3]
MONITORING = REPOSITORY / "deploy" / "monitoring"
OPERATIONS = REPOSITORY / "docs" / "operations.md"

PROMETHEUS_OWN = frozenset({"up", "ALERTS"})
"""Series that Prometheus makes itself."""

TARGET_LABELS = frozenset({"job", "instance", "alertname", "alertstate", "severity"})
"""Labels that Prometheus adds."""

GRID_COLUMNS = 24


class MeasuredDevice:
    """A GPU that says what it does."""

    def use(self) -> DeviceUse:
        return DeviceUse(1, 2, 0.5)


def worker_metrics() -> str:
    """Return the metrics of a worker that has done everything once."""
    metrics = WorkerMetrics(MeasuredDevice())  # type: ignore[arg-type]
    for kind in ("recognition", "upload"):
        metrics.items(kind, 1, 1)
        metrics.chunk(kind, "dropped_for_resend")
        metrics.read(kind, Timings(), 1)
        metrics.stages(kind, {"forward": 1.0})
    metrics.model_loaded("crnn_vgg16_bn", 1.0)
    metrics.s3("GetObject", "error", 1)
    return metrics.exposition()


@pytest.fixture
def exported(ledger: Ledger, fake_server: fakeredis.FakeServer, uploads: Uploads) -> dict[str, set[str]]:
    """The product's metrics by sample name, with their labels: those of an API beside a worker and a job."""
    client = fakeredis.FakeRedis(server=fake_server, decode_responses=True)
    ledger.open("night", "/out", "recognition", "/crops", 1_000, order={"deadline": "2000"})
    ledger.plan_done("night", 2, 2)
    ledger.mark("night", 0, PartOutcome(1, 0), worker="gpu0@a")
    ledger.mark("night", 1, PartOutcome(1, 0), worker="gpu0@a")
    ledger.open("night", "/out", "recognition", "/crops", 1_000, order={"deadline": "2000"})
    reports = Reports(client, "trace-ocr", ledger._clock)
    report = ProcessReport("gpu0@a", "worker", 1, "a", "cpu", 1.0, 1.0, metrics=worker_metrics())
    reports.write(report)
    metrics = ApiMetrics(
        client, load_settings(expected_workers=2), ledger, reports, uploads, StorageWatch(lambda: True)
    )
    metrics.upload_answered("recognition", 200)
    text = metrics.exposition().decode()
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {
        sample.name: {label for other in samples if other.name == sample.name for label in other.labels}
        for sample in samples
    }


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    assert found, "promtool is needed: install Prometheus, on Debian with `apt-get install prometheus`"
    return found


def load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((MONITORING / name).read_text())
    return document


def rules() -> list[dict[str, Any]]:
    return [rule for group in load("alerts.yml")["groups"] for rule in group["rules"]]


def dashboard() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((MONITORING / "grafana" / "dashboard.json").read_text())
    return document


def dashboard_expressions() -> list[str]:
    board = dashboard()
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", [])]
    expressions += [note["expr"] for note in board["annotations"]["list"]]
    for variable in board["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["definition"]).groups()  # type: ignore[union-attr]
            expressions.append(f"max by ({label}) ({metric})")
    return expressions


def names_in(expression: str) -> set[str]:
    """Return the series that an expression reads: its words, less functions, labels and keywords."""
    bare = re.sub(r'"[^"]*"', "", expression)
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on|ignoring|without)\s*\([^)]*\)", " ", bare)
    bare = re.sub(r"[a-z_]+\s*\(", "(", bare)
    bare = re.sub(r"\b(?:and|or|unless|bool|offset\s+\w+)\b", " ", bare)
    return set(re.findall(r"\b[a-zA-Z_]\w*", bare))


def matchers_in(expression: str) -> list[tuple[str, str]]:
    """Return each series with each label that its matcher names."""
    found = re.findall(r"(\w+)\{([^}]*)\}", re.sub(r'"[^"]*"', '""', expression))
    return [(name, label) for name, inner in found for label in re.findall(r"(\w+)\s*[=!]", inner)]


def groupings_in(expression: str) -> set[str]:
    inner = re.findall(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)", expression)
    return {label.strip() for one in inner for label in one.split(",") if label.strip()}


def anchors() -> set[str]:
    """Return the anchors of the operations guide, as GitHub makes them of headings."""
    headings = re.findall(r"^#+ (.+)$", OPERATIONS.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


EXPRESSIONS = [*(rule["expr"] for rule in rules()), *dashboard_expressions()]


def test_expressions_are_taken_apart_as_they_should_be() -> None:
    expression = 'max by (job) (a_total{job=~"x|y", b="c"}) / sum(rate(d[5m] offset 15m)) > 2 unless on() e'

    assert names_in(expression) == {"a_total", "d", "e"}
    assert matchers_in(expression) == [("a_total", "job"), ("a_total", "b")]
    assert groupings_in(expression) == {"job"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("check", "config", "--syntax-only", "prometheus.yml"),
        ("check", "rules", "alerts.yml"),
        ("test", "rules", "alerts_test.yml"),
    ],
)
def test_promtool_accepts_the_configuration_and_the_rules_pass_their_tests(
    promtool: str, arguments: tuple[str, ...]
) -> None:
    answer = subprocess.run([promtool, *arguments], cwd=MONITORING, capture_output=True, text=True)

    assert answer.returncode == 0, answer.stdout + answer.stderr


def test_every_alert_is_seen_firing_and_silent_in_its_tests() -> None:
    firing, silent = set(), set()
    for scene in load("alerts_test.yml")["tests"]:
        for test in scene.get("promql_expr_test", []):
            asked = re.search(r'alertname=~?"([^"]+)"', test["expr"])
            for rule in rules():
                if not test["exp_samples"] and asked and re.fullmatch(asked[1], rule["alert"]):
                    silent.add(rule["alert"])
            for sample in test["exp_samples"]:
                firing.add(re.search(r'alertname="(\w+)"', sample["labels"])[1])  # type: ignore[index]

    assert firing == silent == {rule["alert"] for rule in rules()}


def test_every_series_in_alerts_and_dashboard_is_one_that_the_product_exports(
    exported: dict[str, set[str]],
) -> None:
    assert exported["trace_ocr_items_total"] == {"worker", "kind", "outcome"}, "else this test sees nothing"

    for expression in EXPRESSIONS:
        unknown = names_in(expression) - set(exported) - PROMETHEUS_OWN
        assert not unknown, f"{unknown} in {expression}"


def test_every_label_in_alerts_and_dashboard_is_one_that_its_series_has(
    exported: dict[str, set[str]],
) -> None:
    everywhere = TARGET_LABELS.union(*exported.values())

    for expression in EXPRESSIONS:
        for name, label in matchers_in(expression):
            assert label in exported.get(name, set()) | TARGET_LABELS, f"{name} has no {label}: {expression}"
        assert groupings_in(expression) <= everywhere, expression


def test_every_metric_of_the_product_is_on_the_dashboard(exported: dict[str, set[str]]) -> None:
    shown = set().union(*map(names_in, dashboard_expressions()))
    ours = {name for name in exported if name.startswith("trace_ocr_") and not name.endswith("_created")}

    # A histogram's buckets show what its sum and count would.
    assert ours - shown <= {"trace_ocr_upload_seconds_count", "trace_ocr_upload_seconds_sum"}


def test_every_alert_says_what_it_means_what_to_do_and_where_more_is_written() -> None:
    for rule in rules():
        notes = rule["annotations"]
        assert rule["labels"]["severity"] in {"critical", "warning"}, rule["alert"]
        assert notes["summary"], rule["alert"]
        assert len(notes["description"]) > 80, rule["alert"]
        assert notes["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"
        assert notes["runbook"].partition("#")[2] in anchors(), rule["alert"]


def test_every_link_within_the_operations_guide_leads_somewhere() -> None:
    assert set(re.findall(r"\]\(#([\w-]+)\)", OPERATIONS.read_text())) <= anchors()


def test_prometheus_keeps_our_label_job_and_shows_its_key_from_a_file() -> None:
    (scrape,) = load("prometheus.yml")["scrape_configs"]

    assert scrape["honor_labels"] is True
    assert set(scrape["authorization"]) == {"type", "credentials_file"}


def test_the_panels_of_the_dashboard_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    places = [panel["gridPos"] for panel in panels]

    assert len({panel["id"] for panel in panels}) == len(panels)
    assert len({panel["title"] for panel in panels}) == len(panels)
    for place in places:
        assert 0 <= place["x"] < place["x"] + place["w"] <= GRID_COLUMNS
    for one, other in combinations(places, 2):
        apart = (
            one["x"] + one["w"] <= other["x"]
            or other["x"] + other["w"] <= one["x"]
            or one["y"] + one["h"] <= other["y"]
            or other["y"] + other["h"] <= one["y"]
        )
        assert apart, f"{one} and {other} overlap"


def test_every_panel_says_what_it_shows_and_asks_the_chosen_prometheus() -> None:
    for panel in dashboard()["panels"]:
        if panel["type"] != "row":
            assert panel["description"], panel["title"]
            assert panel["targets"], panel["title"]
            assert panel["datasource"]["uid"] == "${datasource}"
            assert len({target["refId"] for target in panel["targets"]}) == len(panel["targets"])


def test_grafana_is_told_of_prometheus_and_of_the_folder_with_the_dashboard() -> None:
    provisioning = "grafana/provisioning"
    (source,) = load(f"{provisioning}/datasources/prometheus.yml")["datasources"]
    (provider,) = load(f"{provisioning}/dashboards/trace-ocr.yml")["providers"]

    assert source["type"] == "prometheus"
    assert provider["options"]["path"]


@pytest.mark.parametrize(
    ("name", "threshold"),
    [
        ("TraceOcrJobStalled", judged.STALLED_SECONDS),
        ("TraceOcrJobStalled", judged.LEASE_SECONDS),
        ("TraceOcrJobWaiting", judged.WAITING_SECONDS),
        ("TraceOcrQueueOld", judged.QUEUE_SECONDS),
        ("TraceOcrLeaseNotRenewed", judged.LEASE_SECONDS),
        ("TraceOcrDeviceNotMoving", judged.DEVICE_SECONDS),
        ("TraceOcrDeviceMemory", judged.DEVICE_MEMORY),
    ],
)
def test_the_web_ui_alerts_from_the_same_thresholds(name: str, threshold: float) -> None:
    [rule] = [rule for rule in rules() if rule["alert"] == name]

    assert re.search(rf"[<>] {threshold:g}\b", rule["expr"])


def test_what_the_web_ui_alerts_of_is_a_rule_of_the_same_severity() -> None:
    severities = {rule["alert"]: rule["labels"]["severity"] for rule in rules()}
    source = Path(judged.__file__).read_text()
    named = re.findall(r'"(TraceOcr\w+)",\s*"(\w+)"', source)

    assert len(named) >= 12
    assert [(name, severities.get(name)) for name, _ in named] == named
