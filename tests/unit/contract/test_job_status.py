"""What a status says in words, for a log, a terminal and the client's bar."""

import dataclasses
from typing import Any

import pytest

from contract.job_status import ChunkCounts, JobStatus, RequestCounts
from contract.states import Action, State

STATUS = JobStatus(
    id="crops-1",
    status=State.IN_PROGRESS,
    actions=(Action.PAUSE, Action.CANCEL),
    kind="recognition",
    source="/data/crops",
    workspace="/data/out",
    request_counts=RequestCounts(total=5_000, completed=1_000, failed=2),
    chunks=ChunkCounts(total=5, done=1),
    planning=False,
    created_at=0.0,
    updated_at=0.0,
    items_per_second=1_234.56,
    eta_seconds=90.0,
)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "reading"),
        ({"planning": True}, "planning and reading"),
        ({"request_counts": RequestCounts(5, 0, 0)}, "waiting for a worker"),
        (
            {"request_counts": RequestCounts(5, 0, 0), "waiting_for": "the worker to start"},
            "waiting for the worker to start",
        ),
        ({"waiting_for": "nothing any more: items are read"}, "reading"),
        ({"status": State.PAUSED}, "paused"),
    ],
)
def test_what_a_job_does_is_said_in_words(changes: dict[str, Any], expected: str) -> None:
    assert dataclasses.replace(STATUS, **changes).phase == expected


@pytest.mark.parametrize(("rate", "expected"), [(None, ""), (0.0, ""), (1_234.56, "1,234.6 items/s")])
def test_a_rate_is_empty_while_unknown(rate: float | None, expected: str) -> None:
    assert dataclasses.replace(STATUS, items_per_second=rate).throughput == expected


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "crops-1: reading, 1,002 of 5,000 items, 2 failed 1,234.6 items/s"),
        (
            {"planning": True},
            "crops-1: planning and reading, 1,002 of 5,000+ items, 2 failed 1,234.6 items/s",
        ),
        (
            {"status": State.COMPLETED, "items_per_second": None},
            "crops-1: completed, 1,002 of 5,000 items, 2 failed",
        ),
    ],
)
def test_progress_is_all_of_it_in_one_line(changes: dict[str, Any], expected: str) -> None:
    assert dataclasses.replace(STATUS, **changes).progress == expected
