"""Steering a job from the command line: pause, cancel, resume, retry-errors, gc; also with Redis empty."""

import json
from pathlib import Path

import pytest
import redis

from tests.integration.processes import Run, Start


@pytest.fixture
def cluster(redis_url: str, demo_model: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a shared Redis, the bundled model, and workers that may read the test's folder."""
    monkeypatch.setenv("TRACE_OCR_REDIS_URL", redis_url)
    monkeypatch.setenv("TRACE_OCR_RECONCILE_SECONDS", "0.5")
    monkeypatch.setenv("TRACE_OCR_ALLOWED_ROOTS", str(tmp_path))


def ids(path: Path) -> list[str]:
    return [json.loads(line)["id"] for line in path.read_text().splitlines()]


@pytest.mark.parametrize("flushed", [False, True])
@pytest.mark.usefixtures("cluster")
def test_a_paused_job_rests_until_it_is_resumed_also_if_redis_forgets_it(
    start: Start, trace_ocr: Run, few_crops: Path, redis_url: str, tmp_path: Path, flushed: bool
) -> None:
    trace_ocr("submit", str(few_crops), "-o", "out", "--chunk-size", "1", "--job-id", "rest")
    assert trace_ocr("pause", "rest").returncode == 0
    assert trace_ocr("pause", "out").returncode == 0, "saying it twice changes nothing"
    if flushed:
        redis.Redis.from_url(redis_url).flushall()

    worker = start("worker")
    start("control")
    worker.wait_for("worker_started")
    shown = json.loads(trace_ocr("status", "out", "--json").stdout)
    resumed = trace_ocr("resume", "out")
    watched = trace_ocr("watch", "rest")

    assert shown["status"] == "paused"
    assert resumed.returncode == 0, resumed.stderr
    assert watched.returncode == 0, watched.stderr
    assert ids(tmp_path / "out/results.jsonl") == sorted(path.name for path in few_crops.iterdir())


@pytest.mark.usefixtures("cluster")
def test_a_cancelled_job_is_dropped_and_gc_removes_what_it_left(
    start: Start, trace_ocr: Run, few_crops: Path, tmp_path: Path
) -> None:
    trace_ocr("submit", str(few_crops), "-o", "out", "--chunk-size", "1", "--job-id", "gone")
    early = trace_ocr("gc", "gone")
    cancelled = trace_ocr("cancel", "gone")
    start("control")
    watched = trace_ocr("watch", "gone")
    removed = trace_ocr("gc", "out")

    assert early.returncode == 2
    assert "it can be paused or cancelled, not removed" in early.stderr
    assert cancelled.returncode == 0, cancelled.stderr
    assert watched.returncode == 3
    assert "job gone cancelled" in watched.stderr
    assert removed.returncode == 0, removed.stderr
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


@pytest.mark.usefixtures("cluster")
def test_failed_items_are_read_again_and_merged_in_place(
    start: Start, trace_ocr: Run, few_crops: Path, redis_url: str, tmp_path: Path
) -> None:
    crops = sorted(few_crops.iterdir())
    good = {path: path.read_bytes() for path in (crops[1], crops[4])}
    for path in good:
        path.write_bytes(b"")
    start("worker")
    start("control")
    trace_ocr("submit", str(few_crops), "-o", "out", "--chunk-size", "2", "--job-id", "again")
    first = trace_ocr("watch", "again", "--json")
    failed = ids(tmp_path / "out/errors.jsonl")

    crops[1].write_bytes(good[crops[1]])
    redis.Redis.from_url(redis_url).flushall()
    once = trace_ocr("retry-errors", "out")
    second = trace_ocr("watch", "again", "--json")
    crops[4].write_bytes(good[crops[4]])
    trace_ocr("retry-errors", "again")
    third = trace_ocr("watch", "again", "--json")
    nothing = trace_ocr("retry-errors", "again")

    assert (first.returncode, second.returncode, third.returncode) == (1, 1, 0), once.stderr + second.stderr
    assert failed == [crops[1].name, crops[4].name]
    counts = [json.loads(done.stdout)["request_counts"] for done in (first, second, third)]
    assert [(c["completed"], c["failed"]) for c in counts] == [(3, 2), (4, 1), (5, 0)]
    assert ids(tmp_path / "out/results.jsonl") == [path.name for path in crops]
    assert nothing.returncode == 2
    assert "has no failed items" in nothing.stderr
