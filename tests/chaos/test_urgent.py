"""Urgent jobs overtake: order alone is asserted, as the worker's log tells it."""

import json
import signal

import pytest

from contract.broker.app import queue_for
from contract.kinds import KINDS
from tests.chaos.scene import Scene

URGENT_QUEUES = [queue_for("trace-ocr", kind, urgent=True) for kind in KINDS]


def chunks_started(scene: Scene) -> list[str]:
    """Return the job of every chunk begun, in order."""
    lines = [line for line in list(scene.worker.lines) if '"chunk_started"' in line]
    return [json.loads(line)["job"] for line in lines]


@pytest.mark.full
def test_urgent_job_behind_a_long_one_starts_within_one_chunk(scene: Scene) -> None:
    scene.start_worker(TRACE_OCR_VISIBILITY_TIMEOUT="120")
    scene.start_control()
    scene.submit()
    scene.wait_for_chunks(2)

    # The worker holds still while the urgent job is submitted, so that what it takes up next is known.
    scene.signal_worker(signal.SIGSTOP)
    begun = len(chunks_started(scene))
    urgent = (
        "submit",
        str(scene.source),
        "-o",
        "urgent",
        "--job-id",
        "urgent",
        "--chunk-size",
        "64",
        *scene.job.options,
    )
    assert scene.run(*urgent, "--urgent").returncode == 0
    # Control feeds the queue four times a second, in which a worker may begin several short chunks.
    # The worker may have one in its hands, for which it was waiting when it was stopped.
    waiting = -(-len(scene.expected) // 64) - 1
    scene.wait_until(lambda: sum(map(scene.redis.client.llen, URGENT_QUEUES)) >= max(waiting, 0))
    scene.signal_worker(signal.SIGCONT)

    assert scene.run("watch", "urgent").returncode == 0
    scene.finish()
    started = chunks_started(scene)[begun:]
    assert "urgent" in started[:2], "more than one chunk of the long job went first"
    last = max(index for index, job in enumerate(started) if job == "urgent")
    assert started[:last].count("chaos") <= 1, "the long job got between the urgent chunks"
    assert "chaos" in started[last:], "nothing was left to overtake"
