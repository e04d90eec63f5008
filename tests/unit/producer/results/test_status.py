"""Status: from the ledger if it knows the job, from the workspace otherwise."""

from pathlib import Path
from typing import Any

import pytest

from contract.broker.ledger import Ledger
from contract.broker.process_report import ProcessReport
from contract.broker.progress import Progress
from contract.errors import UnknownJobError
from contract.job import Job
from contract.job_status import ChunkCounts, RequestCounts, Running
from contract.records import PartOutcome
from contract.states import ENDED, State
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace
from producer.results.index import JobIndex
from producer.results.merge import merge
from producer.results.status import (
    find_status,
    find_workspace,
    first_lines,
    status_from_workspace,
    status_of,
    with_wait,
)

IN_PROGRESS = Progress(
    job="crops-1",
    workspace="/data/out",
    status=State.IN_PROGRESS,
    created_at=1_000,
    chunks_planned=2,
    items_planned=4,
    chunks_done=1,
    completed=1,
    failed=1,
    items_per_second=0.5,
    running=(Running(1, 1, 1_000, "gpu0@host"),),
)


def changed(**changes: Any) -> Progress:
    return Progress(**{**{name: getattr(IN_PROGRESS, name) for name in Progress.__slots__}, **changes})


def test_while_planning_the_total_is_what_is_planned_so_far() -> None:
    status = status_of(IN_PROGRESS)

    assert status.planning
    assert status.request_counts == RequestCounts(total=4, completed=1, failed=1)
    assert status.chunks == ChunkCounts(total=2, done=1)
    assert status.eta_seconds is None


def test_once_planned_the_time_left_is_known() -> None:
    status = status_of(changed(items_total=5, chunks_total=3))

    assert not status.planning
    assert (status.request_counts.total, status.chunks.total) == (5, 3)
    assert status.eta_seconds == 6.0


def test_items_of_running_chunks_count_as_read() -> None:
    assert status_of(IN_PROGRESS).items_read == 3


@pytest.mark.parametrize("ended", sorted(ENDED))
def test_an_ended_job_has_no_rate_and_no_time_left(ended: State) -> None:
    status = status_of(changed(status=ended, items_total=5))

    assert status.ended
    assert (status.items_per_second, status.eta_seconds) == (None, None)


def test_without_a_rate_the_time_left_is_unknown() -> None:
    assert status_of(changed(items_total=5, items_per_second=None)).eta_seconds is None


# from the workspace


def test_a_job_that_is_half_read_is_counted_from_its_parts(
    planned: Job, workspace: Workspace, write_part: Any
) -> None:
    write_part(0, failed=("1.png",))

    status = status_from_workspace(planned, workspace)

    assert (status.status, status.planning) == ("in_progress", False)
    assert status.request_counts == RequestCounts(total=5, completed=1, failed=1)
    assert status.chunks == ChunkCounts(total=3, done=1)


def test_a_merged_job_is_counted_from_its_summary(
    planned: Job, workspace: Workspace, write_part: Any
) -> None:
    for number in range(3):
        write_part(number, failed=("0.png",) if number == 0 else ())
    merge(planned, workspace, now=1_010.0)
    for number in range(3):
        workspace.store.delete(workspace.part(number))

    status = status_from_workspace(planned, workspace)

    assert (status.status, status.updated_at) == ("completed", 1_010)
    assert status.request_counts == RequestCounts(total=5, completed=4, failed=1)
    assert status.chunks == ChunkCounts(total=3, done=3)


def test_a_merge_interrupted_before_the_marker_is_not_completed(
    planned: Job, workspace: Workspace, write_part: Any
) -> None:
    for number in range(3):
        write_part(number)
    merge(planned, workspace)
    workspace.store.delete(workspace.success)

    assert status_from_workspace(planned, workspace).status == "in_progress"


def test_a_failed_job_says_why(planned: Job, workspace: Workspace) -> None:
    workspace.halt("failed", "no weights")

    status = status_from_workspace(planned, workspace)

    assert (status.status, status.error) == ("failed", "no weights")


def test_a_job_in_planning_is_validating(planned: Job, workspace: Workspace) -> None:
    status = status_from_workspace(planned.model_copy(update={"plan": None}), workspace)

    assert (status.status, status.planning, status.chunks.total) == ("validating", True, 3)


# JOB or WORKSPACE


@pytest.fixture
def known(planned: Job, workspace: Workspace, ledger: Ledger) -> Job:
    """Given a planned job that the ledger knows, with a chunk marked."""
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)
    ledger.plan_done(planned.id, 3, 5)
    ledger.mark(planned.id, 0, PartOutcome(2, 0))
    return planned


@pytest.mark.parametrize("by", ["id", "path", "relative path"])
def test_the_ledger_is_used_for_a_job_id_and_for_a_workspace(
    by: str, known: Job, workspace: Workspace, ledger: Ledger, storage: Storage
) -> None:
    name = {"id": known.id, "path": workspace.root, "relative path": "out"}[by]

    assert find_status(name, ledger, storage).chunks.done == 1
    assert find_workspace(name, ledger, storage).root == workspace.root


def test_without_redis_the_workspace_is_used(known: Job, workspace: Workspace, storage: Storage) -> None:
    assert find_status(workspace.root, None, storage).chunks.done == 0


def test_a_job_that_redis_forgot_is_still_known_by_its_workspace(
    planned: Job, workspace: Workspace, ledger: Ledger, storage: Storage
) -> None:
    assert find_status(workspace.root, ledger, storage).id == planned.id


def test_a_copied_workspace_is_not_confused_with_the_running_job(
    known: Job, workspace: Workspace, ledger: Ledger, storage: Storage, tmp_path: Path
) -> None:
    copy = Workspace(str(tmp_path / "copy"), workspace.store)
    copy.save_job(known)

    assert find_status(copy.root, ledger, storage).workspace == copy.root


@pytest.mark.parametrize("find", [find_status, find_workspace])
def test_a_name_of_neither_is_an_error(find: Any, ledger: Ledger, storage: Storage) -> None:
    with pytest.raises(UnknownJobError, match=r"nothing is neither a job that Redis knows nor a workspace$"):
        find("nothing", ledger, storage)


def test_without_redis_the_error_says_how_to_name_a_job_by_its_id(storage: Storage) -> None:
    with pytest.raises(UnknownJobError, match="TRACE_OCR_REDIS_URL"):
        find_status("crops-1", None, storage)


@pytest.mark.parametrize(
    ("count", "expected"), [(0, []), (2, [{"n": 0}, {"n": 1}]), (9, [{"n": 0}, {"n": 1}, {"n": 2}])]
)
def test_the_first_lines_are_decoded(count: int, expected: list[Any], workspace: Workspace) -> None:
    workspace.store.replace(workspace.results, b'{"n":0}\n{"n":1}\n{"n":2}\n')

    assert first_lines(workspace, workspace.results, count) == expected


def test_with_redis_empty_an_id_is_found_in_the_index(
    planned: Job, workspace: Workspace, ledger: Ledger, storage: Storage, tmp_path: Path
) -> None:
    index = JobIndex(AllowedRoots((str(tmp_path),)), storage)
    index.note(planned, workspace)

    assert find_workspace(planned.id, ledger, storage, index).root == workspace.root
    assert find_status(planned.id, None, storage, index).id == planned.id


def worker_report(name: str, activity: str = "") -> ProcessReport:
    return ProcessReport(name, "worker", 1, "host", "cpu", 0.0, 0.0, activity=activity)


@pytest.mark.parametrize(
    ("running", "reports", "expected"),
    [
        pytest.param((), [], "waiting for a worker: none is alive", id="nobody"),
        pytest.param((), [worker_report("a")], "waiting for a worker", id="all are busy"),
        pytest.param(
            (Running(0, 0, 0.0, "b"),),
            [worker_report("a", "loading master"), worker_report("b", "loading parseq")],
            "waiting for a worker, which is loading parseq",
            id="its worker loads a model",
        ),
        pytest.param(
            (Running(0, 0, 0.0, "b"),),
            [worker_report("a", "loading master"), worker_report("b")],
            "reading",
            id="another one loads a model",
        ),
        pytest.param(
            (Running(0, 7, 0.0, "b"),), [worker_report("b", "loading master")], "reading", id="reads"
        ),
    ],
)
def test_a_job_without_a_read_item_says_what_it_waits_for(
    running: tuple[Running, ...], reports: list[ProcessReport], expected: str
) -> None:
    status = status_of(changed(running=running, completed=0, failed=0, items_total=5))

    assert with_wait(status, reports).phase == expected
