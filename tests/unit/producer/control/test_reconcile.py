"""The reconciler: a chunk with neither part nor message is re-sent at the second check."""

from typing import Any

import pytest

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.job import Job
from contract.workspace import Workspace
from producer.control.reconcile import Reconciler
from producer.planning.submit import Dispatcher


class Looking(Reconciler):
    """A reconciler whose every look begins with the ledger, as control's does."""

    def look(self, job: Job, workspace: Workspace) -> list[int]:
        return self.reconcile(job, workspace, progress_of(job, self._ledger))


@pytest.fixture
def reconciler(ledger: Ledger, dispatcher: Dispatcher) -> Looking:
    return Looking(ledger, dispatcher)


@pytest.fixture
def running(planned: Job, workspace: Workspace, ledger: Ledger) -> Job:
    """Given a planned job that the ledger knows, with all chunks sent."""
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)
    ledger.planned(planned.id, 3, 5, sent=True)
    ledger.plan_done(planned.id, 3, 5)
    return planned


def progress_of(job: Job, ledger: Ledger) -> Progress:
    progress = ledger.load(job.id)
    assert progress
    return progress


def test_a_chunk_that_is_missing_once_is_not_sent(
    running: Job, workspace: Workspace, reconciler: Looking, queue: Any
) -> None:
    assert reconciler.look(running, workspace) == []
    assert queue.sent == []


def test_a_chunk_that_is_missing_twice_in_a_row_is_sent(
    running: Job, workspace: Workspace, reconciler: Looking, queue: Any, write_part: Any
) -> None:
    write_part(1)
    reconciler.look(running, workspace)

    assert reconciler.look(running, workspace) == [0, 2]
    assert queue.sent == [0, 2]


def test_a_re_sent_chunk_is_sent_again_only_after_two_more_checks(
    running: Job, workspace: Workspace, reconciler: Looking, queue: Any
) -> None:
    looks = [reconciler.look(running, workspace) for _ in range(4)]

    assert looks == [[], [0, 1, 2], [], [0, 1, 2]]


def test_a_chunk_that_was_queued_in_between_is_not_sent(
    running: Job, workspace: Workspace, reconciler: Looking, queue: Any
) -> None:
    queue.waiting = {1, 2}
    reconciler.look(running, workspace)
    queue.waiting = {0, 1}

    assert reconciler.look(running, workspace) == []
    queue.waiting = {0, 1}
    assert reconciler.look(running, workspace) == [2]


def test_a_part_without_a_mark_is_marked(
    running: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, write_part: Any
) -> None:
    write_part(0, failed=("0.png",))

    reconciler.look(running, workspace)
    reconciler.look(running, workspace)

    progress = progress_of(running, ledger)
    assert (progress.chunks_done, progress.completed, progress.failed) == (1, 1, 1)


def test_a_ledger_that_lost_everything_is_filled_from_storage(
    planned: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, write_part: Any
) -> None:
    for number in range(3):
        write_part(number)
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)

    reconciler.look(planned, workspace)

    progress = progress_of(planned, ledger)
    assert (progress.status, progress.chunks_done, progress.completed) == ("finalizing", 3, 5)


def test_while_planning_only_the_chunks_written_so_far_are_looked_for(
    planned: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, queue: Any
) -> None:
    planning = planned.model_copy(update={"plan": None})
    workspace.store.delete(workspace.chunk(2))
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)

    assert reconciler.look(planning, workspace) == []
    assert ledger.feed(planned.id, 10) == [0, 1]
    assert [reconciler.look(planning, workspace) for _ in range(2)] == [[], [0, 1]]
    assert progress_of(planned, ledger).chunks_total is None


def test_chunks_that_were_not_sent_yet_are_not_lost_but_may_be_sent(
    planned: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, write_part: Any
) -> None:
    write_part(0)
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)

    assert [reconciler.look(planned, workspace) for _ in range(3)] == [[], [], []]
    assert ledger.feed(planned.id, 10) == [1, 2]
    assert [reconciler.look(planned, workspace) for _ in range(2)] == [[], [1, 2]]


def test_jobs_are_checked_separately(
    running: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, queue: Any
) -> None:
    other = running.model_copy(update={"id": "crops-2"})
    ledger.open(other.id, workspace.root, other.kind, other.source.uri, other.created_at)
    reconciler.look(running, workspace)

    assert reconciler.look(other, workspace) == []


def test_a_forgotten_job_starts_over_with_two_checks(
    running: Job, workspace: Workspace, reconciler: Looking
) -> None:
    reconciler.look(running, workspace)
    reconciler.forget(running.id)
    reconciler.forget("never seen")

    assert reconciler.look(running, workspace) == []


# what the ledger has and storage has not


@pytest.fixture
def all_read(running: Job, ledger: Ledger, write_part: Any, workspace: Workspace, reconciler: Looking) -> Job:
    """Given a job whose parts are all there and marked."""
    for number in range(3):
        write_part(number, failed=("0.png",) if number == 0 else ())
    reconciler.look(running, workspace)
    assert progress_of(running, ledger).status == "finalizing"
    return running


def test_more_chunks_in_the_ledger_than_in_the_job_are_corrected(
    all_read: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger
) -> None:
    ledger.plan_done(all_read.id, 4, 5)
    assert progress_of(all_read, ledger).status == "in_progress"

    reconciler.look(all_read, workspace)

    progress = progress_of(all_read, ledger)
    assert (progress.status, progress.chunks_total, progress.chunks_done) == ("finalizing", 3, 3)
    assert (progress.completed, progress.failed, len(progress.recent_errors)) == (4, 1, 1)


def test_a_chunk_that_is_marked_and_has_no_part_is_read_again(
    all_read: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, queue: Any
) -> None:
    workspace.store.delete(workspace.part(1))

    reconciler.look(all_read, workspace)
    reconciler.look(all_read, workspace)

    assert queue.sent == [1]
    assert progress_of(all_read, ledger).chunks_done == 2
    assert ledger.begin(all_read.id, 1, "cpu0@host").attempt == 1


def test_marks_that_were_never_counted_are_counted(
    running: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, write_part: Any, fake_redis: Any
) -> None:
    for number in range(3):
        write_part(number)
        fake_redis.setbit(f"trace-ocr:job:{running.id}:done", number, 1)

    reconciler.look(running, workspace)
    reconciler.look(running, workspace)

    assert progress_of(running, ledger).status == "finalizing"


def test_a_round_that_is_added_meanwhile_is_not_taken_for_a_wrong_count(
    all_read: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger
) -> None:
    # given a look that began before the round
    before = progress_of(all_read, ledger)
    ledger.open(all_read.id, workspace.root, all_read.kind, all_read.source.uri, all_read.created_at)
    ledger.plan_done(all_read.id, 4, 5)

    reconciler.reconcile(all_read, workspace, before)

    assert progress_of(all_read, ledger).chunks_total == 4


def test_looking_at_a_job_is_no_sign_of_life(
    running: Job, workspace: Workspace, reconciler: Looking, ledger: Ledger, clock: Any
) -> None:
    seen = progress_of(running, ledger).updated_at
    clock.now += 900

    reconciler.look(running, workspace)
    reconciler.look(running, workspace)

    assert progress_of(running, ledger).updated_at == seen
