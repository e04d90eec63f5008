"""Registering a job in the ledger from its workspace; a halted job stays halted."""

from dataclasses import replace
from typing import Any

import pytest

from contract.broker.ledger import Ledger
from contract.broker.progress import Progress
from contract.broker.restore import enter_job
from contract.errors import WorkspaceConflictError
from contract.job import Job, Plan, Retry
from contract.records import PartOutcome
from contract.storage import Storage
from contract.workspace import Workspace, open_workspace

RETENTION = 3600.0


@pytest.fixture
def enter(workspace: Workspace, ledger: Ledger) -> Any:
    """Enter a job; return what the ledger then knows of it."""

    def entered(job: Job) -> Progress:
        enter_job(job, workspace, ledger, RETENTION)
        progress = ledger.load(job.id)
        assert progress is not None
        return progress

    return entered


@pytest.fixture
def planned(job: Job) -> Job:
    return job.model_copy(update={"plan": Plan(chunks=3, items=5)})


def test_a_job_whose_plan_goes_on_is_validating(enter: Any, job: Job, workspace: Workspace) -> None:
    progress = enter(job)

    assert (progress.status, progress.workspace) == ("validating", workspace.root)
    assert (progress.chunks_total, progress.items_total) == (None, None)
    assert (progress.source, progress.created_at) == (job.source.uri, job.created_at)


def test_a_planned_job_is_in_progress_with_its_totals(enter: Any, planned: Job) -> None:
    progress = enter(planned)

    assert progress.status == "in_progress"
    assert (progress.chunks_total, progress.items_total) == (3, 5)


def test_a_retry_adds_chunks_and_no_items(enter: Any, planned: Job) -> None:
    retries = (Retry(first_chunk=3, chunks=1, items=2), Retry(first_chunk=4, chunks=1, items=1))

    progress = enter(planned.model_copy(update={"retries": retries}))

    assert (progress.chunks_total, progress.items_total) == (5, 5)


@pytest.mark.parametrize("status", ["paused", "cancelled", "failed"])
def test_a_halted_job_stays_halted_and_none_of_its_chunks_begins(
    status: Any, enter: Any, planned: Job, workspace: Workspace, ledger: Ledger
) -> None:
    workspace.halt(status, "because")

    assert enter(planned).status == status
    assert ledger.begin(planned.id, 0, "cpu@here").attempt == -1


def test_a_failed_job_still_says_why(enter: Any, planned: Job, workspace: Workspace) -> None:
    workspace.halt("failed", "no weights")

    assert enter(planned).error == "no weights"


@pytest.mark.parametrize("status", [None, "paused", "cancelled", "failed"])
def test_entering_twice_is_entering_once(status: Any, enter: Any, planned: Job, workspace: Workspace) -> None:
    if status:
        workspace.halt(status)

    first = enter(planned)

    second = enter(planned)

    assert second == replace(first, submissions=first.submissions + 1, count_id=second.count_id)


def test_a_job_that_is_read_in_part_keeps_its_counts(enter: Any, planned: Job, ledger: Ledger) -> None:
    enter(planned)
    ledger.mark(planned.id, 0, PartOutcome(1, 1))

    progress = enter(planned)

    assert (progress.chunks_done, progress.completed, progress.failed) == (1, 1, 1)


def test_the_id_of_another_workspaces_job_is_refused_and_that_job_goes_on(
    enter: Any, planned: Job, storage: Storage, ledger: Ledger
) -> None:
    before = enter(planned)
    other = open_workspace("elsewhere", storage)

    with pytest.raises(WorkspaceConflictError):
        enter_job(planned, other, ledger, RETENTION)

    assert ledger.load(planned.id) == before


def test_a_paused_job_is_not_forgotten_with_time(
    enter: Any, planned: Job, workspace: Workspace, fake_redis: Any
) -> None:
    workspace.halt("paused")

    enter(planned)

    assert {fake_redis.ttl(key) for key in fake_redis.scan_iter()} == {-1}
