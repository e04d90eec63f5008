"""Submit, worker and control as separate processes over a real Redis, folders and an S3 endpoint."""

import json
import os
import signal
from collections import Counter
from pathlib import Path

import pytest
import redis
from kombu import Queue

from contract.broker.app import make_app, make_redis
from contract.broker.depths import queue_depth, waiting_chunks
from contract.settings import Settings, load_settings
from tests.integration.processes import Bucket, Process, Run, Start
from worker.jobs.heartbeat import UNACKED_INDEX, renew_lease

FAST = {
    "TRACE_OCR_RECONCILE_SECONDS": "1",
    "TRACE_OCR_VISIBILITY_TIMEOUT": "4",
    "TRACE_OCR_LEASE_SECONDS": "1",
    "TRACE_OCR_SHUTDOWN_GRACE_SECONDS": "1",
}
"""Times that an operator sets in minutes, in seconds."""


@pytest.fixture
def cluster(redis_url: str, demo_model: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given a shared Redis, the bundled model and short times."""
    for name, value in {"TRACE_OCR_REDIS_URL": redis_url, **FAST}.items():
        monkeypatch.setenv(name, value)


def ids(data: bytes) -> list[str]:
    return [json.loads(line)["id"] for line in data.splitlines()]


def kill_worker(worker: Process) -> None:
    """Send SIGKILL to the worker process itself; its launcher restarts it."""
    os.kill(json.loads(worker.wait_for("worker_started")[-1])["pid"], signal.SIGKILL)


@pytest.mark.usefixtures("cluster")
def test_s3_through_separate_processes_gives_the_same_bytes_as_run_on_a_folder(
    start: Start, trace_ocr: Run, bucket: Bucket, samples: Path, tmp_path: Path
) -> None:
    bucket.upload(samples / "crops", "crops/")
    source, output = f"s3://{bucket.name}/crops/", f"s3://{bucket.name}/out/night/"
    start("worker", "--allowed-roots", f"s3://{bucket.name}/")
    start("control")

    submitted = trace_ocr("submit", source, "-o", output, "--chunk-size", "64", "--job-id", "night", "--json")
    watched = trace_ocr("watch", "night", "--json")
    local = trace_ocr(
        "run", str(samples / "crops"), "-o", "local", "--chunk-size", "64", TRACE_OCR_REDIS_URL=""
    )

    assert submitted.returncode == 0, submitted.stderr
    assert json.loads(submitted.stdout)["items"] == 257
    assert watched.returncode == 0, watched.stderr
    assert local.returncode == 0, local.stderr
    assert bucket.read("out/night/results.jsonl") == (tmp_path / "local/results.jsonl").read_bytes()
    assert bucket.read("out/night/errors.jsonl") == b""
    assert bucket.read("out/night/_SUCCESS") == b""
    assert json.loads(watched.stdout)["request_counts"] == {"total": 257, "completed": 257, "failed": 0}
    assert json.loads(trace_ocr("status", output, "--json").stdout)["status"] == "completed"


@pytest.mark.usefixtures("cluster")
def test_a_worker_killed_in_mid_job_costs_nothing(
    start: Start, trace_ocr: Run, samples: Path, tmp_path: Path
) -> None:
    worker = start("worker", "--allowed-roots", f"{samples},{tmp_path}")
    start("control")
    trace_ocr("submit", str(samples / "crops"), "-o", "out", "--chunk-size", "16", "--job-id", "killed")
    worker.wait_for("chunk_done", count=3)

    kill_worker(worker)
    watched = trace_ocr("watch", "killed", "--json")

    assert watched.returncode == 0, watched.stderr
    assert ids((tmp_path / "out/results.jsonl").read_bytes()) == sorted(
        p.name for p in (samples / "crops").iterdir()
    )
    assert worker.wait_for("worker_died")
    begun = Counter(json.loads(line)["chunk"] for line in worker.wait_for("chunk_started"))
    assert set(begun) == set(range(17))
    assert sum(begun.values()) <= 17 + 2, "only the two chunks in the killed worker's hands may run twice"


@pytest.mark.usefixtures("cluster")
def test_a_message_that_redis_lost_is_sent_again(
    start: Start, trace_ocr: Run, few_crops: Path, redis_url: str, tmp_path: Path
) -> None:
    trace_ocr("submit", str(few_crops), "-o", "out", "--job-id", "lost", "--chunk-size", "2")
    client = redis.Redis.from_url(redis_url)
    assert client.lpop("trace-ocr.recognition") is not None
    assert client.llen("trace-ocr.recognition") == 2

    control = start("control")
    control.wait_for("chunks_sent_again")
    start("worker", "--allowed-roots", str(tmp_path))
    watched = trace_ocr("watch", "lost")

    assert watched.returncode == 0, watched.stderr
    assert len(ids((tmp_path / "out/results.jsonl").read_bytes())) == 5


@pytest.mark.usefixtures("cluster")
def test_a_forged_message_is_dropped_with_a_log_line_and_the_worker_lives(
    start: Start, trace_ocr: Run, few_crops: Path, redis_url: str, tmp_path: Path
) -> None:
    worker = start("worker", "--allowed-roots", str(tmp_path))
    start("control")
    app = make_app(load_settings())
    for payload in (
        {"job": "x", "workspace": "/etc", "chunk": 0},
        {"job": "../x", "workspace": str(tmp_path), "chunk": 0},
        {"job": "x", "workspace": str(tmp_path), "chunk": -1},
        {"command": "rm"},
    ):
        app.send_task("trace_ocr.recognition", kwargs=payload)

    worker.wait_for("message_dropped", count=4)
    trace_ocr("submit", str(few_crops), "-o", "out", "--job-id", "after")

    assert trace_ocr("watch", "after").returncode == 0
    assert worker.popen.poll() is None


@pytest.mark.usefixtures("cluster")
def test_a_stopping_worker_hands_its_chunk_back_and_another_finishes_it(
    start: Start, trace_ocr: Run, samples: Path, tmp_path: Path
) -> None:
    roots = f"{samples},{tmp_path}"
    first = start("worker", "--allowed-roots", roots, TRACE_OCR_SHUTDOWN_GRACE_SECONDS="0")
    start("control")
    trace_ocr(
        "submit", str(samples / "crops"), "-o", "out", "--job-id", "moved", "--recognition-batch-size", "1"
    )
    first.wait_for("chunk_started")

    status = first.stop()
    start("worker", "--allowed-roots", roots)
    watched = trace_ocr("watch", "moved")

    assert status == 0
    assert first.wait_for("chunk_handed_back")
    assert watched.returncode == 0, watched.stderr
    assert len(ids((tmp_path / "out/results.jsonl").read_bytes())) == 257


def test_a_lease_is_renewed_where_kombu_keeps_it_and_only_while_the_message_is_unacknowledged(
    redis_url: str,
) -> None:
    settings = Settings(redis_url=redis_url)
    client, app = make_redis(settings), make_app(settings)
    app.send_task("trace_ocr.recognition", task_id="night/7")
    assert waiting_chunks(client, "trace-ocr", "night") == {7}

    with app.connection_for_read() as connection:
        channel = connection.channel()
        message = Queue("trace-ocr.recognition", channel=channel).get()
        client.zadd(UNACKED_INDEX, {message.delivery_tag: 1})
        renew_lease(client, message.delivery_tag)
        renewed = client.zscore(UNACKED_INDEX, message.delivery_tag)
        held = waiting_chunks(client, "trace-ocr", "night"), queue_depth(client, "trace-ocr")
        message.ack()
        renew_lease(client, message.delivery_tag)

    assert renewed is not None
    assert renewed > 1
    assert held == ({7}, 1)
    assert client.zscore(UNACKED_INDEX, message.delivery_tag) is None
    assert queue_depth(client, "trace-ocr") == 0


@pytest.mark.parametrize(
    ("flag", "queue", "other"), [((), "recognition", "urgent"), (("--urgent",), "urgent", "recognition")]
)
@pytest.mark.usefixtures("cluster")
def test_a_chunk_lies_in_its_own_queue_once_also_when_workers_have_declared_all_queues(
    start: Start,
    trace_ocr: Run,
    few_crops: Path,
    redis_url: str,
    flag: tuple[str, ...],
    queue: str,
    other: str,
) -> None:
    app = make_app(load_settings())
    with app.connection_for_write() as connection:
        for declared in app.conf.task_queues:
            declared(connection.channel()).declare()

    trace_ocr("submit", str(few_crops), "-o", "out", "--chunk-size", "1", *flag)

    client = redis.Redis.from_url(redis_url)
    assert client.llen(f"trace-ocr.{queue}") == 5
    assert client.llen(f"trace-ocr.{other}") == 0
