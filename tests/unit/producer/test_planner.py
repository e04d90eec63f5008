"""Control plans what comes over HTTP, and takes up what another control process has left half planned."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.job import Job
from contract.ledger import Ledger
from contract.storage import Storage
from contract.workspace import Workspace
from producer import planner as planner_module
from producer.planner import ABANDONED_SECONDS, Planner
from producer.sources import list_source
from producer.submit import Dispatcher, request_job
from tests.unit.conftest import Clock
from tests.unit.producer.conftest import FakeQueue

Step = Callable[[], None]


@pytest.fixture
def planner(ledger: Ledger, storage: Storage, dispatcher: Dispatcher) -> Planner:
    return Planner(ledger, storage, dispatcher, lambda job, stdin: list_source(job.source, storage, stdin))


@pytest.fixture
def requested(job: Job, workspace: Workspace, ledger: Ledger, crops: Callable[..., Path]) -> Job:
    """Given a job over three crops that was submitted over HTTP."""
    crops("1.png", "2.png", "3.png")
    job = job.model_copy(update={"planned_by": "control"})
    workspace.save_job(job)
    request_job(job, workspace, ledger)
    return job


@pytest.fixture
def serve_once(planner: Planner, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Step:
    """Run the loop until it has waited for submissions in vain."""
    monkeypatch.setattr(planner_module, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(planner_module.time, "time", clock)

    def run() -> None:
        stop, waited = threading.Event(), []
        ask = Ledger.next_submitted

        def ask_and_stop(timeout: float) -> str | None:
            found = ask(planner._ledger, timeout)
            if found is None:
                # Between the first wait in vain and the second lies the look for abandoned plans.
                waited.append(timeout)
                if len(waited) == 2:
                    stop.set()
            return found

        monkeypatch.setattr(planner._ledger, "next_submitted", ask_and_stop)
        planner._next_look = 0.0
        planner.run(stop)

    return run


def test_a_submission_is_planned_and_sent(
    requested: Job, serve_once: Step, workspace: Workspace, queue: FakeQueue
) -> None:
    serve_once()

    plan = workspace.require_job().plan
    assert plan
    assert (plan.items, plan.chunks) == (3, 2)
    assert queue.sent == [0, 1]


def test_a_source_that_cannot_be_listed_fails_the_job(
    job: Job, workspace: Workspace, ledger: Ledger, serve_once: Step
) -> None:
    workspace.save_job(job)
    request_job(job, workspace, ledger)

    serve_once()

    progress = ledger.load(job.id)
    assert progress
    assert progress.status == "failed"
    halt = workspace.load_halt()
    assert halt
    assert halt.status == "failed"


def test_a_source_that_has_changed_since_fails_the_job(
    requested: Job, serve_once: Step, workspace: Workspace, ledger: Ledger, crops: Callable[..., Path]
) -> None:
    workspace.store.create(workspace.chunk(0), b'{"id":"other","uri":"/other"}\n')

    serve_once()

    progress = ledger.load(requested.id)
    assert progress
    assert "has changed" in progress.error


@pytest.mark.parametrize("status", ["paused", "cancelled"])
def test_a_job_halted_in_between_is_not_revived(
    status: str, requested: Job, serve_once: Step, workspace: Workspace, queue: FakeQueue
) -> None:
    workspace.halt(status)  # type: ignore[arg-type]

    serve_once()

    assert queue.sent == []


def test_an_abandoned_plan_is_taken_up(
    requested: Job, ledger: Ledger, serve_once: Step, clock: Clock, queue: FakeQueue
) -> None:
    assert ledger.next_submitted(0.01)  # the one who took it has died
    serve_once()
    assert queue.sent == []

    clock.now += ABANDONED_SECONDS + 1
    serve_once()

    assert queue.sent == [0, 1]


def test_what_a_command_plans_is_left_to_it(
    job: Job, workspace: Workspace, ledger: Ledger, serve_once: Step, clock: Clock, queue: FakeQueue
) -> None:
    # given a submission that has read its source, on another machine, for longer than any chunk took
    workspace.save_job(job)
    ledger.open(job.id, workspace.root, "recognition", job.source.uri, job.created_at)
    clock.now += ABANDONED_SECONDS + 1

    serve_once()

    assert queue.sent == []
