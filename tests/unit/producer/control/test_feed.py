"""The feeder: a few chunks at a time reach the queue, and none is lost or forgotten."""

import json
import time
from typing import Any

import fakeredis
import pytest

from contract.broker.ledger import Ledger
from contract.errors import BrokerError
from contract.job import Job
from contract.records import PartOutcome
from contract.tenants import Tenant
from contract.workspace import Workspace
from producer.control.feed import LEAST, Feeder
from producer.control.steer import pause_job
from producer.planning.submit import Dispatcher


@pytest.fixture
def ready(planned: Job, workspace: Workspace, ledger: Ledger) -> Job:
    """Given a job with ten chunks that control may send."""
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)
    ledger.planned(planned.id, 10, 20)
    ledger.ready(planned.id, 10)
    return planned


def test_a_few_chunks_are_sent_at_a_time(
    ready: Job, feeder: Feeder, queue: Any, fake_redis: fakeredis.FakeRedis
) -> None:
    feeder.feed()
    assert queue.sent == [0, 1]

    fake_redis.lpush("trace-ocr.recognition", *["message"] * LEAST)
    assert feeder.feed() == 0
    fake_redis.rpop("trace-ocr.recognition", 1)
    feeder.feed()
    assert queue.sent == [0, 1, 2]


def test_chunks_that_are_done_are_not_sent(ready: Job, ledger: Ledger, feeder: Feeder, queue: Any) -> None:
    for chunk in (0, 2, 3):
        ledger.mark(ready.id, chunk, PartOutcome(2, 0))

    feeder.feed()

    assert queue.sent == [1, 4]


def test_messages_of_an_earlier_submission_are_not_repeated(
    ready: Job, feeder: Feeder, queue: Any, fake_redis: fakeredis.FakeRedis
) -> None:
    fake_redis.lpush("trace-ocr.recognition", '{"headers": {"id": "crops-1/1"}}')
    feeder._workers = lambda: 4

    feeder.feed()

    assert queue.sent == [0, 2, 3]


def test_a_paused_job_is_not_fed_and_a_resumed_one_begins_with_what_is_not_done(
    ready: Job, workspace: Workspace, ledger: Ledger, feeder: Feeder, queue: Any
) -> None:
    feeder.feed()
    ledger.mark(ready.id, 0, PartOutcome(2, 0))
    pause_job(ready, workspace, ledger)

    assert feeder.feed() == 0
    workspace.release()
    ledger.open(ready.id, workspace.root, ready.kind, ready.source.uri, ready.created_at)
    ledger.ready(ready.id, 10)
    queue.sent.clear()
    feeder.feed()
    assert queue.sent == [1, 2]


def test_a_job_whose_workspace_is_gone_does_not_hold_up_the_others(
    ready: Job, workspace: Workspace, ledger: Ledger, feeder: Feeder, queue: Any
) -> None:
    ledger.open("gone", f"{workspace.root}/gone", ready.kind, "s", 0, order={"priority": "9"})
    ledger.planned("gone", 10, 20)
    ledger.ready("gone", 10)

    feeder.feed()
    feeder.feed()

    assert queue.sent == [0, 1]


def test_chunks_that_could_not_be_sent_are_the_reconcilers(
    ready: Job, ledger: Ledger, feeder: Feeder, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away(*_: object) -> None:
        raise BrokerError("Redis is away")

    monkeypatch.setattr(feeder, "_dispatcher", Dispatcher(away, lambda _: set()))
    with pytest.raises(BrokerError):
        feeder.feed()

    progress = ledger.load(ready.id)
    assert progress
    assert progress.chunks_sent == LEAST


def test_urgent_chunks_do_not_wait_for_room_among_the_others(
    ready: Job, workspace: Workspace, ledger: Ledger, feeder: Feeder, queue: Any, fake_redis: Any
) -> None:
    fake_redis.lpush("trace-ocr.recognition", *["message"] * 100)
    assert feeder.feed() == 0

    order = ready.model_copy(update={"urgent": True}).order()
    ledger.open(ready.id, workspace.root, ready.kind, "s", 0, order=order)
    ledger.ready(ready.id, 10)

    assert feeder.feed() == 10


def test_a_tenants_limit_counts_its_other_jobs_too_whose_chunks_are_all_sent(
    ready: Job, ledger: Ledger, feeder: Feeder, queue: Any, fake_redis: fakeredis.FakeRedis
) -> None:
    feeder._tenants = {"default": Tenant("default", most_running=4)}
    feeder._workers = lambda: 16
    ledger.open("sent", "/data/sent", ready.kind, "s", 0)
    ledger.open("others", "/data/others", ready.kind, "s", 0, order={"tenant": "lab"})
    for name in ("sent/0", "sent/1", "sent/2", "others/0", "unknown/0"):
        fake_redis.hset("unacked", name, json.dumps([{"headers": {"id": name}}, "", ""]))
        fake_redis.zadd("unacked_index", {name: time.time()})

    feeder.feed()

    assert queue.sent == [0]
