"""The reconciler: a chunk with neither part nor message is re-sent at the second check."""

from typing import Any

import pytest

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.job import Job
from contract.workspace import Workspace
from producer.control.reconcile import Reconciler
from producer.planning.submit import Dispatcher


@pytest.fixture
def reconciler(ledger: Ledger, dispatcher: Dispatcher) -> Reconciler:
    return Reconciler(ledger, dispatcher)


@pytest.fixture
def running(planned: Job, workspace: Workspace, ledger: Ledger) -> Job:
    """Given a planned job that the ledger knows."""
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)
    ledger.plan_done(planned.id, 3, 5)
    return planned


def progress_of(job: Job, ledger: Ledger) -> Progress:
    progress = ledger.load(job.id)
    assert progress
    return progress


def test_a_chunk_that_is_missing_once_is_not_sent(
    running: Job, workspace: Workspace, reconciler: Reconciler, queue: Any
) -> None:
    assert reconciler.reconcile(running, workspace) == []
    assert queue.sent == []


def test_a_chunk_that_is_missing_twice_in_a_row_is_sent(
    running: Job, workspace: Workspace, reconciler: Reconciler, queue: Any, write_part: Any
) -> None:
    write_part(1)
    reconciler.reconcile(running, workspace)

    assert reconciler.reconcile(running, workspace) == [0, 2]
    assert queue.sent == [0, 2]


def test_a_re_sent_chunk_is_sent_again_only_after_two_more_checks(
    running: Job, workspace: Workspace, reconciler: Reconciler, queue: Any
) -> None:
    looks = [reconciler.reconcile(running, workspace) for _ in range(4)]

    assert looks == [[], [0, 1, 2], [], [0, 1, 2]]


def test_a_chunk_that_was_queued_in_between_is_not_sent(
    running: Job, workspace: Workspace, reconciler: Reconciler, queue: Any
) -> None:
    queue.waiting = {1, 2}
    reconciler.reconcile(running, workspace)
    queue.waiting = {0, 1}

    assert reconciler.reconcile(running, workspace) == []
    queue.waiting = {0, 1}
    assert reconciler.reconcile(running, workspace) == [2]


def test_a_part_without_a_mark_is_marked(
    running: Job, workspace: Workspace, reconciler: Reconciler, ledger: Ledger, write_part: Any
) -> None:
    write_part(0, failed=("0.png",))

    reconciler.reconcile(running, workspace)
    reconciler.reconcile(running, workspace)

    progress = progress_of(running, ledger)
    assert (progress.chunks_done, progress.completed, progress.failed) == (1, 1, 1)


def test_a_ledger_that_lost_everything_is_filled_from_storage(
    planned: Job, workspace: Workspace, reconciler: Reconciler, ledger: Ledger, write_part: Any
) -> None:
    for number in range(3):
        write_part(number)
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)

    reconciler.reconcile(planned, workspace)

    progress = progress_of(planned, ledger)
    assert (progress.status, progress.chunks_done, progress.completed) == ("finalizing", 3, 5)


def test_while_planning_only_the_chunks_written_so_far_are_looked_for(
    planned: Job, workspace: Workspace, reconciler: Reconciler, ledger: Ledger, queue: Any
) -> None:
    planning = planned.model_copy(update={"plan": None})
    workspace.store.delete(workspace.chunk(2))
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)
    reconciler.reconcile(planning, workspace)

    assert reconciler.reconcile(planning, workspace) == [0, 1]
    assert progress_of(planned, ledger).chunks_total is None


def test_jobs_are_checked_separately(
    running: Job, workspace: Workspace, reconciler: Reconciler, ledger: Ledger, queue: Any
) -> None:
    other = running.model_copy(update={"id": "crops-2"})
    reconciler.reconcile(running, workspace)

    assert reconciler.reconcile(other, workspace) == []


def test_a_forgotten_job_starts_over_with_two_checks(
    running: Job, workspace: Workspace, reconciler: Reconciler
) -> None:
    reconciler.reconcile(running, workspace)
    reconciler.forget(running.id)
    reconciler.forget("never seen")

    assert reconciler.reconcile(running, workspace) == []
