"""Workers and control tell of themselves through a real Redis, and `/metrics` tells it on."""

import json
import os
import re
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from contract.broker.app import make_redis
from contract.broker.ledger import Ledger
from contract.broker.process_report import ProcessReport
from contract.broker.reports import EXPIRY_SECONDS, Reports
from contract.broker.uploads import Uploads
from contract.settings import load_settings
from producer.api.monitoring.metrics import ApiMetrics
from tests.integration.processes import Run, Start

ALERTS = Path(__file__).resolve().parents[2] / "deploy" / "monitoring" / "alerts.yml"
POLL_SECONDS = 0.2
LOOKS_SECONDS = 3.0
"""Seconds between two scrapes, in which control looks at its jobs three times."""


@pytest.fixture
def cluster(redis_url: str, demo_model: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a shared Redis and the bundled model."""
    monkeypatch.setenv("TRACE_OCR_REDIS_URL", redis_url)
    monkeypatch.setenv("TRACE_OCR_RECONCILE_SECONDS", "1")


@pytest.fixture
def reports(cluster: None) -> Reports:
    return Reports(make_redis(load_settings()), "trace-ocr")


Series = dict[str, float]


@pytest.fixture
def exposition(reports: Reports) -> Callable[[], str]:
    """Return the API's metrics as Prometheus gets them."""
    settings = load_settings()
    client = make_redis(settings)
    uploads = Uploads(make_redis(settings, raw=True), settings.namespace)
    metrics = ApiMetrics(client, settings, Ledger(client, settings.namespace), reports, uploads)
    return lambda: metrics.exposition().decode()


@pytest.fixture
def scrape(exposition: Callable[[], str]) -> Callable[[], dict[str, float]]:
    """Return the API's metrics by 'name{value,value}', the values in the labels' alphabetical order."""

    def samples() -> dict[str, float]:
        return {
            f"{sample.name}{{{','.join(value for _, value in sorted(sample.labels.items()))}}}": sample.value
            for family in text_string_to_metric_families(exposition())
            for sample in family.samples
        }

    return samples


@pytest.fixture
def alerts_after(exposition: Callable[[], str], tmp_path: Path) -> Callable[[float, int], set[str]]:
    """Return the alerts that fire if the system stays as it is.

    Every series is scraped twice, some seconds apart, while control looks at its jobs. Each then goes on at
    the rate of these seconds, for as many minutes as asked. So the test shows which metrics stand still and
    which grow in a real system in this state; only the waiting is left out.
    """

    def series() -> tuple[float, Series]:
        at, found = time.monotonic(), text_string_to_metric_families(exposition())
        return at, {_series_name(sample): sample.value for family in found for sample in family.samples}

    def firing(seconds: float, minutes: int) -> set[str]:
        begun, first = series()
        threading.Event().wait(seconds)
        ended, second = series()
        lines = {
            name: f"{value:f}{(value - first[name]) / (ended - begun) * 60:+f}x{minutes}"
            for name, value in second.items()
            if name in first
        }
        up = {'up{job="trace-ocr"}': f"1+0x{minutes}"}  # Prometheus' own
        return _firing(lines | up, minutes, tmp_path / "scene.yml")

    return firing


def _series_name(sample: Sample) -> str:
    labels = ",".join(f"{name}={json.dumps(value)}" for name, value in sorted(sample.labels.items()))
    return f"{sample.name}{{{labels}}}"


def _firing(series: dict[str, str], minutes: int, file: Path) -> set[str]:
    """Return the names of the alerts that fire at the end of the series, by promtool."""
    scene = {
        "interval": "1m",
        "input_series": [{"series": name, "values": values} for name, values in series.items()],
        # Nothing is expected: promtool then says what it got.
        "promql_expr_test": [
            {"expr": 'ALERTS{alertstate="firing"}', "eval_time": f"{minutes}m", "exp_samples": []}
        ],
    }
    file.write_text(json.dumps({"rule_files": [str(ALERTS)], "evaluation_interval": "1m", "tests": [scene]}))
    answer = subprocess.run(["promtool", "test", "rules", str(file)], capture_output=True, text=True)
    return set(re.findall(r'alertname="(\w+)"', answer.stdout + answer.stderr))


def wait_until(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition that Redis brings about, which sends no event."""
    never = threading.Event()
    for _ in range(int(seconds / POLL_SECONDS)):
        if condition():
            return
        never.wait(POLL_SECONDS)
    raise AssertionError(f"not so within {seconds} s")


def by_role(reports: Reports) -> dict[str, list[ProcessReport]]:
    return {role: reports.live(role) for role in ("worker", "control")}  # type: ignore[arg-type]


def test_a_worker_and_control_tell_of_themselves_and_of_what_they_did(
    start: Start,
    trace_ocr: Run,
    few_crops: Path,
    tmp_path: Path,
    reports: Reports,
    scrape: Callable[[], dict[str, float]],
) -> None:
    worker = start("worker", "--allowed-roots", str(tmp_path))
    control = start("control")
    worker.wait_for("worker_ready")
    pid = json.loads(worker.wait_for("worker_started")[-1])["pid"]
    wait_until(lambda: all(by_role(reports).values()), 60)

    # then both are known for what they are
    [live] = reports.live("worker")
    assert (live.pid, live.device) == (pid, "cpu")
    assert live.name.startswith("cpu@")
    assert [report.pid for report in reports.live("control")] == [control.popen.pid]

    # when a job of five crops, one of them bad, is read
    (few_crops / "bad.png").write_bytes(b"no image")
    trace_ocr("submit", str(few_crops), "-o", "out", "--job-id", "told", "--chunk-size", "2")
    assert trace_ocr("watch", "told").returncode in (0, 1)

    # then its items are counted within some seconds
    completed = f"trace_ocr_items_total{{recognition,completed,{live.name}}}"
    wait_until(lambda: scrape().get(completed) == 5.0, 60)
    samples = scrape()
    assert samples[f"trace_ocr_items_total{{recognition,failed,{live.name}}}"] == 1.0
    assert samples[f"trace_ocr_chunks_total{{recognition,done,{live.name}}}"] == 3.0
    assert samples[f"trace_ocr_batches_total{{recognition,{live.name}}}"] >= 3.0
    assert samples[f"trace_ocr_model_load_seconds{{crnn_mobilenet_v3_small,{live.name}}}"] > 0
    assert samples[f"process_resident_memory_bytes{{{live.name}}}"] > 1e6
    assert samples["trace_ocr_jobs{completed}"] == 1.0
    assert samples["trace_ocr_job_items{told,failed}"] == 1.0
    assert samples["trace_ocr_processes{worker}"] == samples["trace_ocr_processes{control}"] == 1.0
    assert samples["trace_ocr_up{redis}"] == 1.0
    assert samples["trace_ocr_queue_depth{}"] == 0.0

    # when both end of their own accord, then nobody is told of any more
    worker.stop()
    control.stop()
    assert by_role(reports) == {"worker": [], "control": []}


def test_a_killed_process_vanishes_by_itself(start: Start, reports: Reports) -> None:
    control = start("control")
    wait_until(lambda: bool(reports.live("control")), 60)

    os.kill(control.popen.pid, signal.SIGKILL)

    wait_until(lambda: reports.live() == [], 3 * EXPIRY_SECONDS)


def test_a_message_carries_the_time_it_was_sent_and_waits_ever_longer(
    trace_ocr: Run, few_crops: Path, scrape: Callable[[], dict[str, float]]
) -> None:
    trace_ocr("submit", str(few_crops), "-o", "out", "--chunk-size", "1")

    first = scrape()
    second = scrape()

    assert first["trace_ocr_queue_messages{trace-ocr.recognition}"] == 5.0
    assert first["trace_ocr_oldest_message_age_seconds{}"] > 0.0
    assert second["trace_ocr_oldest_message_age_seconds{}"] > first["trace_ocr_oldest_message_age_seconds{}"]


def test_a_job_without_a_worker_is_reported_as_stalled(
    start: Start,
    trace_ocr: Run,
    few_crops: Path,
    alerts_after: Callable[[float, int], set[str]],
    reports: Reports,
) -> None:
    start("control")
    wait_until(lambda: bool(reports.live("control")), 60)
    trace_ocr("submit", str(few_crops), "-o", "out", "--job-id", "alone")

    assert "TraceOcrJobStalled" not in alerts_after(LOOKS_SECONDS, 10)
    assert alerts_after(LOOKS_SECONDS, 20) == {"TraceOcrNoWorker", "TraceOcrJobStalled"}
    assert "TraceOcrJobWaiting" in alerts_after(LOOKS_SECONDS, 130)


def test_a_job_whose_worker_is_stopped_in_a_chunk_is_reported_as_stalled(
    start: Start,
    trace_ocr: Run,
    samples: Path,
    tmp_path: Path,
    alerts_after: Callable[[float, int], set[str]],
    scrape: Callable[[], dict[str, float]],
) -> None:
    start("control")
    worker = start("worker", "--allowed-roots", f"{samples},{tmp_path}")
    source = str(samples / "crops")
    trace_ocr("submit", source, "-o", "out", "--job-id", "held", "--recognition-batch-size", "1")
    worker.wait_for("chunk_started")
    pid = json.loads(worker.wait_for("worker_started")[-1])["pid"]

    os.kill(pid, signal.SIGSTOP)
    try:
        assert scrape()["trace_ocr_unacked_messages{}"] >= 1
        found = alerts_after(LOOKS_SECONDS, 20)
    finally:
        os.kill(pid, signal.SIGKILL)

    assert found >= {"TraceOcrJobStalled", "TraceOcrLeaseNotRenewed"}
