"""Control plans jobs submitted over HTTP, and resumes plans that another control process left unfinished."""

import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from contract.broker.ledger import Ledger
from contract.job import Job, Source
from contract.records import Item, decode_item
from contract.settings import Settings
from contract.states import State
from contract.storage import Storage
from contract.workspace import Workspace
from producer.planning import planner as planner_module
from producer.planning.planner import ABANDONED_SECONDS, Planner
from producer.planning.submit import Dispatcher, request_job
from producer.session import Session
from producer.sources import list_source
from tests.unit.conftest import Clock
from tests.unit.documents import pdf, tiff
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
    """Run the loop until a wait for submissions times out."""
    monkeypatch.setattr(planner_module, "WAIT_SECONDS", 0.01)
    monkeypatch.setattr(planner_module.time, "time", clock)

    def run() -> None:
        stop, waited = threading.Event(), []
        ask = Ledger.next_submitted

        def ask_and_stop(timeout: float) -> str | None:
            found = ask(planner._ledger, timeout)
            if found is None:
                # The check for abandoned plans runs between the first timed-out wait and the second.
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


def test_an_abandoned_plan_is_resumed(
    requested: Job, ledger: Ledger, serve_once: Step, clock: Clock, queue: FakeQueue
) -> None:
    assert ledger.next_submitted(0.01)  # the one who took it has died
    serve_once()
    assert queue.sent == []

    clock.now += ABANDONED_SECONDS + 1
    serve_once()

    assert queue.sent == [0, 1]


def test_a_plan_abandoned_after_some_chunks_is_resumed(
    requested: Job, ledger: Ledger, serve_once: Step, clock: Clock, queue: FakeQueue
) -> None:
    # given a plan that was interrupted once its first chunk was recorded, so that the job is in progress
    ledger.next_submitted(0.01)
    ledger.planned(requested.id, 1, 2)
    progress = ledger.load(requested.id)
    assert progress
    assert progress.status == State.IN_PROGRESS
    clock.now += ABANDONED_SECONDS + 1

    serve_once()

    assert queue.sent == [0, 1]


def test_a_plan_of_a_command_is_not_resumed_by_control(
    job: Job, workspace: Workspace, ledger: Ledger, serve_once: Step, clock: Clock, queue: FakeQueue
) -> None:
    # given a submission that has read its source, on another machine, for longer than any chunk took
    workspace.save_job(job)
    ledger.open(job.id, workspace.root, "recognition", job.source.uri, job.created_at)
    clock.now += ABANDONED_SECONDS + 1

    serve_once()

    assert queue.sent == []


Chunks = list[list[Item]]
MakeChunks = Callable[[Source], Chunks]


class TestPages:
    """Given page jobs, planned by a session as control does."""

    @pytest.fixture
    def scans(self, tmp_path: Path) -> Path:
        folder = tmp_path / "scans"
        folder.mkdir()
        return folder

    @pytest.fixture
    def planned(
        self,
        job: Job,
        workspace: Workspace,
        ledger: Ledger,
        storage: Storage,
        dispatcher: Dispatcher,
        settings: Settings,
    ) -> MakeChunks:
        """Plan an ocr job over a source; return the items of each chunk."""

        def plan(source: Source) -> Chunks:
            record = {**job.model_dump(exclude={"parameters", "chunk_size"}), "kind": "ocr", "parameters": {}}
            wanted = Job.model_validate({**record, "source": source})
            workspace.save_job(wanted)
            request_job(wanted, workspace, ledger)
            Planner(ledger, storage, dispatcher, Session(settings).listing).plan(wanted.id, threading.Event())
            return [
                [decode_item(line) for line in workspace.lines(workspace.chunk(number))]
                for number in range(workspace.require_job().chunks)
            ]

        return plan

    def test_a_pdf_of_2000_pages_is_split_over_chunks_of_32(
        self, planned: MakeChunks, scans: Path, queue: FakeQueue
    ) -> None:
        book = scans / "book.pdf"
        book.write_bytes(pdf(*[(100, 100)] * 2_000))

        chunks = planned(Source(type="file", uri=str(book)))

        assert [len(chunk) for chunk in chunks] == [32] * 62 + [16]
        assert [item for chunk in chunks for item in chunk] == [
            Item(f"book.pdf#page={page}", str(book), page=page) for page in range(1, 2_001)
        ]
        assert queue.sent == list(range(63))

    def test_chunks_span_documents_and_images(self, planned: MakeChunks, scans: Path) -> None:
        (scans / "a.pdf").write_bytes(pdf(*[(100, 100)] * 20))
        (scans / "b.png").touch()
        (scans / "c.tiff").write_bytes(tiff(*[(10, 10)] * 20))

        chunks = planned(Source(type="folder", uri=str(scans)))

        assert [len(chunk) for chunk in chunks] == [32, 9]
        ids = [item.id for chunk in chunks for item in chunk]
        assert ids == [
            *[f"a.pdf#page={page}" for page in range(1, 21)],
            "b.png",
            *[f"c.tiff#page={page}" for page in range(1, 21)],
        ]

    def test_a_document_outside_the_allowed_roots_is_an_item_that_is_not_opened(
        self,
        planned: MakeChunks,
        scans: Path,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> None:
        outside = tmp_path_factory.mktemp("outside") / "a.pdf"
        outside.write_bytes(pdf((100, 100), (100, 100)))
        (scans / "list.csv").write_text(f"uri\n{outside}\n")

        assert planned(Source(type="manifest", uri=f"{scans}/list.csv")) == [
            [Item(str(outside), str(outside))]
        ]
