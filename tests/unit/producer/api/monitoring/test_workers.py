"""The list of workers: what each does in words, and which are slow beside those with the same work."""

from typing import Any

import pytest

from contract.broker.process_report import InHand, ProcessReport
from producer.api.monitoring.workers import process_list
from producer.control.paces import SLOW_RATIO, STUCK_SECONDS

CHUNK = InHand("night", "recognition", 17, 512, 990.0)


def report(name: str = "gpu0@a", role: Any = "worker", **fields: Any) -> ProcessReport:
    return ProcessReport(name, role, 1, "a", "NVIDIA H100", 1.0, 1_000.0, **fields)


def shown(*reports: ProcessReport) -> list[Any]:
    """Return what a caller sees who may see every job, two seconds after the reports."""
    return list(process_list(reports, 1_002.0, lambda job: True))


@pytest.mark.parametrize(
    ("fields", "state", "text"),
    [
        ({}, "idle", "idle"),
        ({"in_hand": (CHUNK,)}, "reading", "reading chunk 17 of night"),
        ({"activity": "loading parseq"}, "loading", "loading parseq"),
        ({"in_hand": (CHUNK,), "activity": "loading parseq"}, "loading", "loading parseq"),
        (
            {"in_hand": (CHUNK,), "progress_age_seconds": STUCK_SECONDS + 60},
            "stuck",
            "no movement for 3 min",
        ),
        # A worker of an older version does not say what it has in hand.
        ({"progress_age_seconds": 1.0}, "reading", "reading"),
    ],
)
def test_the_state_is_said_in_words(fields: dict[str, Any], state: str, text: str) -> None:
    [worker] = shown(report(**fields))

    assert (worker.state, worker.state_text) == (state, text)


def test_the_last_movement_is_as_old_as_it_was_and_the_report_is() -> None:
    idle, reading = shown(report(), report("gpu1@a", in_hand=(CHUNK,), progress_age_seconds=0.5))

    assert (idle.moved_seconds_ago, reading.moved_seconds_ago) == (None, 2.5)


def test_a_worker_far_below_the_median_of_the_same_work_is_slow() -> None:
    work = {"work": "recognition crnn"}
    workers = shown(
        report("a", pace=100.0, **work),
        report("b", pace=110.0, **work),
        report("c", pace=SLOW_RATIO * 100 - 1, **work),
        report("d", pace=2.0, work="ocr db parseq"),
        report("e"),
    )

    assert [worker.name for worker in workers if worker.slow] == ["c"]
    assert [worker.ratio for worker in workers] == [1.0, 1.1, 0.49, None, None]


def test_workers_that_read_nothing_are_not_slow() -> None:
    workers = shown(*(report(name, pace=0.0, work="recognition crnn") for name in "ab"))

    assert [(worker.ratio, worker.slow) for worker in workers] == [(None, False)] * 2


def test_the_job_of_others_is_not_named() -> None:
    [worker] = process_list([report(in_hand=(CHUNK,))], 1_000.0, lambda job: False)

    assert [(one.job, one.chunk) for one in worker.in_hand] == [(None, 17)]
    assert "night" not in worker.state_text


def test_control_has_no_state() -> None:
    [control] = shown(report("control@a", "control"))

    assert (control.state_text, control.in_hand, control.moved_seconds_ago) == ("", (), None)
