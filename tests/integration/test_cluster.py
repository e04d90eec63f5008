"""Messages in a real Redis: the queue that holds them, their lease, and a worker that hands one back."""

import json
import threading
from pathlib import Path

import pytest
import redis
from kombu import Queue

from contract.broker.app import make_app, make_redis
from contract.broker.depths import queue_depth, waiting_chunks
from contract.job import Job
from contract.kinds.recognition import RecognitionParameters
from contract.settings import Settings, load_settings
from contract.source import Source
from contract.workspace import open_workspace
from producer.session import Session
from tests.integration.processes import Run, Start
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
    assert all(json.loads(line)["event"] for line in first.lines)
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


def test_a_lost_message_is_delivered_again_though_the_worker_that_looked_for_such_was_killed(
    redis_url: str,
) -> None:
    settings = Settings(redis_url=redis_url).model_copy(update={"visibility_timeout": 1})
    client, app = make_redis(settings), make_app(settings)
    app.send_task("trace_ocr.recognition", task_id="night/7")

    with app.connection_for_read() as connection:
        channel = connection.channel()
        message = Queue("trace-ocr.recognition", channel=channel).get()
        client.zadd(UNACKED_INDEX, {message.delivery_tag: 1})
        # given kombu's lock, whose holder never comes back
        lock = client.lock(channel.unacked_mutex_key, timeout=channel.unacked_mutex_expire)
        assert lock.acquire(blocking=False)
        channel.qos.restore_visible()
        assert client.llen("trace-ocr.recognition") == 0

        # when the visibility timeout is over, no more
        assert 0 < client.pttl(channel.unacked_mutex_key) <= 1_000
        threading.Event().wait(1)
        channel.qos.restore_visible()

    assert client.llen("trace-ocr.recognition") == 1
    assert waiting_chunks(client, "trace-ocr", "night") == {7}


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


def test_redis_holds_a_few_messages_of_ten_million_items_and_a_small_job_comes_next(
    redis_url: str, tmp_path: Path
) -> None:
    """Given 16 workers, of which each takes a chunk between two feedings."""
    session = Session(Settings(redis_url=redis_url, namespace="fed"))
    ledger, client, queue = session.ledger, session.client, "fed.recognition"
    feeder = session.feeder()
    feeder._workers = lambda: 16
    for name, chunks in (("huge", 10_000), ("small", 1)):
        workspace = open_workspace(str(tmp_path / name), session.storage)
        workspace.save_job(
            Job(
                id=name,
                parameters=RecognitionParameters(),
                source=Source(type="folder", uri=str(tmp_path)),
                chunk_size=1_024,
                created_at=1,
            )
        )
        ledger.open(name, workspace.root, "recognition", str(tmp_path), 1)
        ledger.planned(name, chunks, chunks * 1_000)
    ledger.ready("huge", 10_000)

    taken: list[str] = []
    longest = 0
    for number in range(60):
        if number == 50:
            ledger.ready("small", 1)
            waiting = client.llen(queue)
        feeder.feed()
        longest = max(longest, client.llen(queue))
        taken += [json.loads(text)["headers"]["id"] for text in client.rpop(queue, 16) or ()]
        if number == 50:
            before = len(taken) - 16

    assert longest <= 3 * 16
    assert taken[: before + 1] == [f"huge/{chunk}" for chunk in range(before + 1)]
    assert taken.index("small/0") <= before + waiting
    progress = ledger.load("huge")
    assert progress
    assert len(taken) + client.llen(queue) == progress.chunks_sent + 1
