"""What a job is doing in words, whether somebody should look at it, and the sentence about it."""

from typing import Any
from zoneinfo import ZoneInfo

import pytest

from contract.broker.line import Standing
from contract.broker.process_report import InHand, ProcessReport, Trouble
from contract.job_status import ChunkCounts, JobStatus, Mark, RequestCounts, Running
from contract.states import State
from producer.control.attention import attention
from producer.control.line import with_words
from producer.control.paces import STUCK_SECONDS
from producer.control.surroundings import Surroundings

NOW = 1_795_660_200.0
"""Unix seconds: 26 November 2026, 02:30 in London."""

LONDON = ZoneInfo("Europe/London")

RUNS = (Running(3, 10, NOW, "cpu@a"),)


def job(status: State = State.IN_PROGRESS, **fields: Any) -> JobStatus:
    """A job of 100 items that moved just now."""
    given: dict[str, Any] = {
        "request_counts": RequestCounts(100, 10, 0),
        "updated_at": NOW,
        "created_at": NOW - 7_200,
        **fields,
    }
    return JobStatus(
        "night",
        status,
        "recognition",
        "/data",
        "/out",
        chunks=ChunkCounts(10, 1),
        planning=False,
        items_per_second=None,
        eta_seconds=None,
        **given,
    )


def worker(name: str = "cpu@a", **fields: Any) -> ProcessReport:
    return ProcessReport(name, "worker", 1, "a", "cpu", 1.0, NOW, **fields)


def holds(other: str) -> ProcessReport:
    """A worker with a chunk of another job in hand."""
    return worker("cpu@z", in_hand=(InHand(other, "recognition", 0, 1, NOW),))


CONTROL = ProcessReport("control@a", "control", 1, "a", "", 1.0, NOW)

ALIVE = Surroundings(NOW, (worker(), CONTROL))


def standing(job: str, items: int = 100, **fields: Any) -> Standing:
    return Standing(job, "/out", "recognition", 1.0, 1, 5, items, None, **fields)


def at_work(*others: ProcessReport, **fields: Any) -> Surroundings:
    return Surroundings(NOW, (worker(), CONTROL, *others), **fields)


IDLE = NOW - STUCK_SECONDS - 600

CASES: dict[str, tuple[JobStatus, Surroundings, str, str]] = {
    "listed": (job(State.VALIDATING), ALIVE, "listing its source", ""),
    "not listed": (
        job(State.VALIDATING),
        Surroundings(NOW, (worker(),)),
        "waiting: no control process is alive",
        "no control",
    ),
    "no worker": (job(), Surroundings(NOW, (CONTROL,)), "waiting: no worker is alive", "no worker"),
    "reading": (job(running=RUNS), ALIVE, "reading", ""),
    "first in line": (job(), at_work(line=(standing("night"),)), "waiting for a worker", ""),
    "behind others in the line": (
        job(),
        at_work(line=(*(standing(name, priority=1) for name in "abc"), standing("night", tenant="default"))),
        "waiting behind 3 jobs",
        "",
    ),
    "behind one that workers hold": (
        job(updated_at=IDLE),
        at_work(holds("other")),
        "waiting behind 1 job",
        "",
    ),
    "a worker loads a model": (
        job(),
        at_work(worker("cpu@b", activity="loading parseq")),
        "waiting: a worker is loading parseq",
        "",
    ),
    "stands still": (job(updated_at=IDLE, running=RUNS), ALIVE, "stalled for 12 min", "stalled"),
    "its worker reads nothing": (
        job(running=RUNS),
        Surroundings(NOW, (worker(progress_age_seconds=300.0), CONTROL)),
        "stalled for 5 min",
        "stalled",
    ),
    "one of its workers reads nothing": (
        job(running=(*RUNS, Running(4, 0, NOW, "cpu@b"))),
        at_work(worker("cpu@b", progress_age_seconds=300.0)),
        "reading",
        "",
    ),
    "its chunks fail": (
        job(running=RUNS),
        at_work(worker("cpu@b", troubles=(Trouble("night", "/out/parts: No space left on device", 2),))),
        "its chunks fail: /out/parts: No space left on device",
        "chunks fail",
    ),
    "one run failed": (
        job(running=RUNS),
        at_work(worker("cpu@b", troubles=(Trouble("night", "timeout", 1), Trouble("other", "full", 9)))),
        "reading",
        "",
    ),
    "merging": (job(State.FINALIZING), ALIVE, "merging its results", ""),
    "merging for long": (job(State.FINALIZING, updated_at=IDLE), ALIVE, "stalled for 12 min", "stalled"),
    "paused": (job(State.PAUSED, updated_at=IDLE), ALIVE, "paused", ""),
    "cancelling": (
        job(State.CANCELLING, running=RUNS),
        ALIVE,
        "cancelling: 1 chunk still running",
        "",
    ),
    "completed": (job(State.COMPLETED), Surroundings(NOW), "completed", ""),
    "completed with some errors": (
        job(State.COMPLETED, request_counts=RequestCounts(100, 95, 5)),
        Surroundings(NOW),
        "completed, 5 items failed",
        "",
    ),
    "completed with many errors": (
        job(State.COMPLETED, request_counts=RequestCounts(100, 94, 6)),
        Surroundings(NOW),
        "completed, 6 items failed",
        "many errors",
    ),
    "failed": (
        job(State.FAILED, error="line 1 of the manifest is no JSON\nmore"),
        Surroundings(NOW),
        "failed: line 1 of the manifest is no JSON",
        "failed",
    ),
    "failed at length": (
        job(State.FAILED, error="x" * 500),
        Surroundings(NOW),
        "failed: " + "x" * 157 + "...",
        "failed",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_job_says_what_it_does_and_whether_somebody_should_look(case: str) -> None:
    status, around, text, why = CASES[case]

    shown = with_words(status, around, LONDON)

    assert (shown.state_text, shown.attention) == (text, why)


def test_a_job_that_will_miss_its_deadline_needs_attention() -> None:
    assert attention(job(running=RUNS, at_risk=True), ALIVE) == "late"


@pytest.mark.parametrize(
    ("status", "around", "sentence"),
    [
        (job(running=RUNS), ALIVE, "Reading; 1 worker"),
        (
            job(State.COMPLETED, ends_at=NOW - 3_600, completed_at=NOW - 3_600),
            Surroundings(NOW),
            "Completed at 01:30, 60 min after it was submitted",
        ),
        (
            job(State.COMPLETED, ends_at=NOW, request_counts=RequestCounts(9, 8, 1), margin_seconds=-300.0),
            Surroundings(NOW),
            "Completed at 02:30, 2 h after it was submitted; 1 item failed; 5 min after its deadline",
        ),
        (
            job(State.FAILED, ends_at=NOW - 86_400, created_at=NOW - 86_500, error="no space left"),
            Surroundings(NOW),
            "Failed at 02:30 on Wed 25 Nov, 1 min after it was submitted; no space left",
        ),
        (job(), Surroundings(NOW, (CONTROL,)), "Waiting: no worker is alive"),
    ],
)
def test_the_headline_says_it_in_a_sentence(status: JobStatus, around: Surroundings, sentence: str) -> None:
    assert with_words(status, around, LONDON).headline == sentence


def test_the_headline_names_slow_workers_and_when_the_job_is_done() -> None:
    reading = {"in_hand": (InHand("night", "recognition", 0, 1, NOW),), "work": "recognition crnn"}
    reports = [worker("cpu@a", pace=10.0, **reading), worker("cpu@b", pace=1.0, **reading), CONTROL]
    # 80 items are left, and both workers read 20 in the last 1,000 s.
    marks = (Mark(NOW - 1_000, 5, "cpu@a"), Mark(NOW - 500, 10, "cpu@a"))
    runs = (*RUNS, Running(4, 0, NOW, "cpu@b"))
    status = job(running=runs, rate=marks, deadline=NOW + 7_200)

    shown = with_words(status, Surroundings(NOW, reports), LONDON)

    assert shown.headline.startswith("Reading; done about 0")
    assert shown.headline.endswith("2 workers, cpu@b is slow")
    assert "its deadline" in shown.headline
