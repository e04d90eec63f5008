"""Workers and control tell of themselves through a real Redis, and `/metrics` tells it on."""

import json
import os
import signal
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from contract.broker.app import make_redis
from contract.broker.ledger import Ledger
from contract.broker.reports import EXPIRY_SECONDS, ProcessReport, Reports
from contract.broker.uploads import Uploads
from contract.settings import load_settings
from producer.api.monitoring.metrics import ApiMetrics
from tests.integration.processes import Run, Start

POLL_SECONDS = 0.2


@pytest.fixture
def cluster(redis_url: str, demo_model: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a shared Redis and the bundled model."""
    monkeypatch.setenv("TRACE_OCR_REDIS_URL", redis_url)
    monkeypatch.setenv("TRACE_OCR_RECONCILE_SECONDS", "1")


@pytest.fixture
def reports(cluster: None) -> Reports:
    return Reports(make_redis(load_settings()), "trace-ocr")


@pytest.fixture
def scrape(reports: Reports) -> Callable[[], dict[str, float]]:
    """Return the API's metrics by 'name{value,value}', the values in the labels' alphabetical order."""
    settings = load_settings()
    client = make_redis(settings)
    uploads = Uploads(make_redis(settings, raw=True), settings.namespace)
    metrics = ApiMetrics(client, settings, Ledger(client, settings.namespace), reports, uploads)

    def samples() -> dict[str, float]:
        return {
            f"{sample.name}{{{','.join(value for _, value in sorted(sample.labels.items()))}}}": sample.value
            for family in text_string_to_metric_families(metrics.exposition().decode())
            for sample in family.samples
        }

    return samples


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
