"""A worker that cannot run any chunk takes no chunk from those that can."""

import signal
from typing import Any

import pytest
from celery.exceptions import Reject

from contract.broker.ledger import Ledger
from contract.errors import UnfitWorkerError
from contract.records import ChunkMessage
from worker.app.tasks import run_message, run_nudge
from worker.jobs.chunk import WorkerContext


def test_an_unfit_worker_puts_its_chunk_back_uncounted_and_ends(
    context: WorkerContext, message: ChunkMessage, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfit(*_: Any) -> None:
        ledger.begin(message.job, message.chunk, context.name)
        raise UnfitWorkerError("no device memory")

    signals: list[int] = []
    monkeypatch.setattr("worker.app.tasks.read_chunk", unfit)
    monkeypatch.setattr("worker.app.tasks.os.kill", lambda _, number: signals.append(number))
    payload = {"job": message.job, "workspace": message.workspace, "chunk": message.chunk}

    with pytest.raises(Reject) as rejected:
        run_message("recognition", (), payload, context, lambda: None)

    assert rejected.value.requeue
    assert ledger.attempts(message.job, message.chunk) == 0
    assert context.unfit.is_set()
    assert signals == [signal.SIGTERM]


def test_an_unfit_worker_puts_a_nudge_back_and_ends(
    context: WorkerContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unfit(*_: Any) -> None:
        raise UnfitWorkerError("no device memory")

    signals: list[int] = []
    monkeypatch.setattr("worker.app.tasks.read_uploads", unfit)
    monkeypatch.setattr("worker.app.tasks.os.kill", lambda _, number: signals.append(number))

    with pytest.raises(Reject) as rejected:
        run_nudge((), {"kind": "recognition", "batch_size": 4}, context)

    assert rejected.value.requeue
    assert context.unfit.is_set()
    assert signals == [signal.SIGTERM]
