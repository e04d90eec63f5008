"""Control plans jobs submitted over HTTP, and resumes plans that another control process left unfinished."""

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from contract.broker.ledger import Ledger
from contract.job import Job
from contract.records import Item, decode_item
from contract.settings import Settings
from contract.source import Source
from contract.states import State
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.tenants import Tenant
from contract.workspace import Workspace, open_workspace
from producer.control.steer import cancel_job, pause_job
from producer.planning import planner as planner_module
from producer.planning.plan import WRITERS
from producer.planning.planner import ABANDONED_SECONDS, Planner
from producer.planning.submit import Dispatcher, request_job
from producer.session import Session
from producer.sources.base import Listing
from producer.sources.listing import list_source
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

        def ask_and_stop(timeout: float, *, urgent: bool = False) -> str | None:
            found = ask(planner._ledger, timeout, urgent=urgent)
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


def test_a_workspace_that_became_a_link_out_of_the_roots_fails_the_job_and_is_not_written(
    requested: Job, planner: Planner, workspace: Workspace, ledger: Ledger, tmp_path: Path
) -> None:
    # given a workspace that is replaced by a link to somebody else's folder after the job was accepted
    theirs = tmp_path / "theirs"
    Path(workspace.root).rename(theirs)
    Path(workspace.root).symlink_to(theirs)
    before = sorted(theirs.rglob("*"))
    planner._roots = AllowedRoots((str(Path(workspace.root).parent),))

    planner.plan(requested.id, threading.Event())

    progress = ledger.load(requested.id)
    assert progress
    assert progress.status is State.FAILED
    assert sorted(theirs.rglob("*")) == before


def test_a_workspace_that_became_another_jobs_fails_the_job_and_is_not_written(
    requested: Job, planner: Planner, workspace: Workspace, ledger: Ledger
) -> None:
    workspace.save_job(requested.model_copy(update={"id": "theirs"}))

    planner.plan(requested.id, threading.Event())

    progress = ledger.load(requested.id)
    assert progress
    assert (progress.status, "theirs" in progress.error) == (State.FAILED, True)
    assert workspace.load_halt() is None
    assert list(workspace.chunk_numbers()) == []


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


@dataclass
class Endless:
    """Listings that go on until they are stopped, of all sources but those that `ends` names."""

    ends: set[str] = field(default_factory=set)

    def list(self, job: Job, _: object) -> Listing:
        ids = range(3) if job.id in self.ends else count()
        return Listing((Item(str(number), f"/crops/{number}") for number in ids), Counter())


class TestTurns:
    """Given plans that go on for ever, of which each turn is one chunk."""

    @pytest.fixture
    def endless(self, monkeypatch: pytest.MonkeyPatch, clock: Clock) -> Endless:
        monkeypatch.setattr(planner_module.time, "time", clock)
        monkeypatch.setattr("producer.planning.turns.TURN_SECONDS", 0.0)
        monkeypatch.setattr("producer.planning.submit.HALT_SECONDS", 0.0)
        return Endless()

    @pytest.fixture
    def planner(self, ledger: Ledger, storage: Storage, dispatcher: Dispatcher, endless: Endless) -> Planner:
        return Planner(ledger, storage, dispatcher, endless.list)

    @pytest.fixture
    def request_named(
        self, job: Job, tmp_path: Path, storage: Storage, ledger: Ledger
    ) -> Callable[..., Workspace]:
        """Submit a job over HTTP."""

        def submit(name: str, *, urgent: bool = False) -> Workspace:
            workspace = open_workspace(str(tmp_path / name), storage)
            named = job.model_copy(update={"id": name, "urgent": urgent, "planned_by": "control"})
            workspace.save_job(named)
            request_job(named, workspace, ledger)
            return workspace

        return submit

    @pytest.fixture
    def until_planned(self, dispatcher: Dispatcher, planner: Planner) -> Callable[..., set[str]]:
        """Run one thread's loop until a job's second and last chunk is sent; return the jobs that it sent."""

        def run(job: str, *, urgent: bool = False) -> set[str]:
            stop, seen = threading.Event(), set()

            def send(sent: Job, workspace: str, chunk: int) -> None:
                seen.add(sent.id)
                if sent.id == job and chunk == 1:
                    stop.set()

            planner._dispatcher = Dispatcher(send, dispatcher.waiting)
            planner.run(stop, urgent=urgent)
            return seen

        return run

    def test_four_long_plans_do_not_block_a_fifth(
        self, endless: Endless, request_named: Any, until_planned: Any, ledger: Ledger
    ) -> None:
        endless.ends = {"short"}
        for name in ("one", "two", "three", "four", "short"):
            request_named(name)

        until_planned("short")

        # and what one process has begun, the next goes on with
        assert {ledger.next_submitted(0.01) for _ in range(4)} >= {"one", "two", "three", "four"}

    def test_urgent_jobs_have_a_planner_of_their_own(
        self, endless: Endless, request_named: Any, until_planned: Any, ledger: Ledger
    ) -> None:
        endless.ends = {"urgent"}
        request_named("long")
        request_named("urgent", urgent=True)

        assert until_planned("urgent", urgent=True) == {"urgent"}

    @pytest.mark.parametrize("steer", [pause_job, cancel_job])
    def test_a_halt_ends_a_long_plan_and_resuming_plans_again(
        self,
        steer: Any,
        endless: Endless,
        request_named: Any,
        planner: Planner,
        ledger: Ledger,
        queue: FakeQueue,
    ) -> None:
        workspace = request_named("long")
        send = planner._dispatcher.send

        def send_and_halt(job: Job, root: str, chunk: int) -> None:
            send(job, root, chunk)
            if chunk == 2:
                steer(job, workspace, ledger)

        planner._dispatcher = Dispatcher(send_and_halt, planner._dispatcher.waiting)
        planner.plan("long", threading.Event())

        assert len(queue.sent) <= 3 + WRITERS + 1, "more than was being written"
        assert workspace.require_job().plan is None
        request_job(workspace.require_job(), workspace, ledger)
        endless.ends = {"long"}
        assert ledger.next_submitted(0.01) == "long"

    def test_a_job_that_is_submitted_again_while_its_plan_ends_is_planned_again(
        self, endless: Endless, request_named: Any, planner: Planner, ledger: Ledger
    ) -> None:
        workspace = request_named("long")
        assert ledger.next_submitted(0.01) == "long"
        send = planner._dispatcher.send

        def send_and_resubmit(job: Job, root: str, chunk: int) -> None:
            send(job, root, chunk)
            pause_job(job, workspace, ledger)
            planner.plan("long", threading.Event())

        planner._dispatcher = Dispatcher(send_and_resubmit, planner._dispatcher.waiting)

        planner.plan("long", threading.Event())

        assert ledger.next_submitted(0.01) == "long"


def test_a_plan_that_a_command_began_and_control_was_asked_for_is_resumed(
    job: Job,
    workspace: Workspace,
    ledger: Ledger,
    serve_once: Step,
    clock: Clock,
    queue: FakeQueue,
    crops: Any,
) -> None:
    # given a command's job that was submitted again over HTTP, to a control process that died
    crops("1.png", "2.png", "3.png")
    workspace.save_job(job)
    request_job(job, workspace, ledger)
    ledger.next_submitted(0.01)
    clock.now += ABANDONED_SECONDS + 1

    serve_once()

    assert queue.sent == [0, 1]


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


def test_a_job_with_more_items_than_its_tenant_may_have_waiting_fails(
    planner: Planner, requested: Job, ledger: Ledger
) -> None:
    planner._tenants = {"default": Tenant("default", most_items=1)}

    planner.plan(requested.id, threading.Event())

    progress = ledger.load(requested.id)
    assert progress
    assert progress.status == "failed"
    assert "may have 1 item waiting: 0 of other jobs wait, and this one has more than 1" in progress.error
