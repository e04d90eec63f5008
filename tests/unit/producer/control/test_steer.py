"""Steering: every action is written to the workspace first, and is idempotent."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fakeredis
import msgspec
import pytest
import redis

from contract.broker.ledger import Ledger
from contract.errors import JobError, JobStateError, StorageUnavailableError, UsageError
from contract.job import Job, Retry
from contract.job_status import ChunkCounts, RequestCounts
from contract.lines import ErrorLine, Failure, RecognitionLine, encode_line
from contract.records import decode_item
from contract.states import Action, State
from contract.workspace import Workspace
from producer.control.removal import remove_job
from producer.control.steer import add_retry, cancel_job, check_action, pause_job
from producer.planning.submit import Dispatcher, submit_job
from producer.results.corrections import Correction, fold, record
from producer.results.merge import merge
from producer.results.status import status_from_workspace
from producer.sources.base import Listing

Steer = Callable[[Job, Workspace, Ledger | None], None]


@pytest.fixture(params=["with Redis", "without Redis"])
def ledger_or_none(request: pytest.FixtureRequest, ledger: Ledger) -> Ledger | None:
    return ledger if request.param == "with Redis" else None


@pytest.fixture
def known(planned: Job, workspace: Workspace, ledger: Ledger) -> Job:
    """Given a planned job that runs."""
    ledger.open(planned.id, workspace.root, planned.kind, planned.source.uri, planned.created_at)
    ledger.plan_done(planned.id, 3, 5)
    return planned


@pytest.fixture
def complete(planned: Job, workspace: Workspace, write_part: Any) -> Job:
    """Given a completed job; three of its five items failed, one in each chunk."""
    for number, failed in enumerate((("1.png",), ("2.png",), ("4.png",))):
        write_part(number, failed=failed)
    merge(planned, workspace)
    return planned


@pytest.fixture
def read_again(workspace: Workspace) -> Callable[..., None]:
    """Write the parts of a retry's chunks, as a worker does; the items named in `failing` fail again."""

    def read(retry: Retry, *failing: str) -> None:
        for chunk in range(retry.first_chunk, retry.first_chunk + retry.chunks):
            items = map(decode_item, workspace.lines(workspace.chunk(chunk)))
            lines = [
                ErrorLine(item.id, item.uri, Failure("empty_file", "still"), 1)  # type: ignore[arg-type]
                if item.id in failing
                else RecognitionLine(item.id, item.id, f"again {item.id}", 0.5)
                for item in items
            ]
            workspace.store.create(workspace.part(chunk), b"".join(map(encode_line, lines)))

    return read


def status_of(job: Job, ledger: Ledger) -> str:
    progress = ledger.load(job.id)
    assert progress is not None
    return progress.status


def halt_of(workspace: Workspace) -> str | None:
    halt = workspace.load_halt()
    return halt.status if halt else None


def files(workspace: Workspace) -> list[str]:
    root = Path(workspace.root)
    return sorted(str(path.relative_to(root)) for path in root.rglob("*") if path.is_file())


def chunk_ids(workspace: Workspace, chunk: int) -> list[str]:
    return [decode_item(line).id for line in workspace.lines(workspace.chunk(chunk))]


class TestWhatIsAllowed:
    """The table decides, with and without Redis; test_jobs.py covers all of it over HTTP."""

    @pytest.mark.parametrize(
        ("halted", "steer", "said"),
        [
            (State.CANCELLED, pause_job, "is cancelled: it can be resumed or removed, not paused"),
            (State.FAILED, pause_job, "is failed: it can be resumed or cancelled, not paused"),
            (State.PAUSED, remove_job, "is paused: it can be resumed or cancelled, not removed"),
            (State.FAILED, remove_job, "is failed: it can be resumed or cancelled, not removed"),
            (None, remove_job, "is in progress: it can be paused or cancelled, not removed"),
            (None, add_retry, "is in progress: it can be paused or cancelled, not retried"),
            (State.PAUSED, add_retry, "is paused: it can be resumed or cancelled, not retried"),
        ],
    )
    def test_a_refusal_names_the_allowed_actions_and_changes_nothing(
        self,
        halted: State | None,
        steer: Callable[[Job, Workspace, Ledger | None], object],
        said: str,
        planned: Job,
        workspace: Workspace,
        ledger_or_none: Ledger | None,
    ) -> None:
        if halted:
            workspace.halt(halted)
        before = files(workspace)

        with pytest.raises(UsageError, match=f"^job crops-1 {said}$"):
            steer(planned, workspace, ledger_or_none)

        assert (files(workspace), halt_of(workspace)) == (before, halted)

    @pytest.mark.parametrize("steer", [pause_job, cancel_job, remove_job])
    def test_a_complete_job_is_unchanged(
        self,
        steer: Callable[[Job, Workspace, Ledger | None], object],
        complete: Job,
        workspace: Workspace,
        ledger_or_none: Ledger | None,
    ) -> None:
        before = files(workspace)

        with pytest.raises(UsageError, match="is completed: it can be retried, not"):
            steer(complete, workspace, ledger_or_none)

        assert files(workspace) == before

    @pytest.mark.parametrize(("steer", "done"), [(pause_job, "paused"), (cancel_job, "cancelled")])
    def test_a_complete_job_without_failures_is_not_said_to_be_one_to_retry(
        self,
        steer: Callable[[Job, Workspace, Ledger | None], object],
        done: str,
        planned: Job,
        workspace: Workspace,
        ledger_or_none: Ledger | None,
        write_part: Any,
    ) -> None:
        for number in range(3):
            write_part(number)
        merge(planned, workspace)

        with pytest.raises(JobStateError, match=f"^job crops-1 is completed: it cannot be {done}$"):
            steer(planned, workspace, ledger_or_none)

        with pytest.raises(JobStateError, match=r"has no failed items: there is nothing to retry$"):
            add_retry(planned, workspace, ledger_or_none)

    def test_a_cancelled_job_with_running_chunks_cannot_be_removed(
        self, known: Job, workspace: Workspace, ledger: Ledger
    ) -> None:
        cancel_job(known, workspace, ledger)

        with pytest.raises(UsageError, match="is cancelling: it can be resumed, not removed"):
            remove_job(known, workspace, ledger)

    def test_a_failed_job_can_be_cancelled_and_removed(
        self, known: Job, workspace: Workspace, ledger: Ledger
    ) -> None:
        workspace.halt(State.FAILED)
        ledger.finish(known.id, State.FAILED, 60)

        cancel_job(known, workspace, ledger)

        assert (halt_of(workspace), status_of(known, ledger)) == (State.CANCELLED, State.CANCELLED)
        assert remove_job(known, workspace, ledger)

    def test_a_round_of_retries_that_redis_does_not_know_can_be_resumed(
        self, complete: Job, workspace: Workspace, ledger: Ledger
    ) -> None:
        ledger.open(complete.id, workspace.root, complete.kind, complete.source.uri, complete.created_at)
        ledger.finish(complete.id, State.COMPLETED, 60)

        job = add_retry(complete, workspace, ledger)

        assert check_action(Action.RESUME, job, workspace, ledger) is State.IN_PROGRESS

    def test_without_redis_a_job_is_still_halted_in_its_workspace(
        self, known: Job, workspace: Workspace, ledger: Ledger, fake_server: fakeredis.FakeServer
    ) -> None:
        fake_server.connected = False

        with pytest.raises(redis.ConnectionError):
            pause_job(known, workspace, ledger)

        assert halt_of(workspace) == State.PAUSED


class TestPauseAndCancel:
    @pytest.mark.parametrize(
        ("steer", "halted", "held"),
        [(pause_job, "paused", "paused"), (cancel_job, "cancelled", "cancelling")],
    )
    def test_a_running_job_is_halted_in_its_workspace_and_held_in_the_ledger(
        self, steer: Steer, halted: str, held: str, known: Job, workspace: Workspace, ledger: Ledger
    ) -> None:
        steer(known, workspace, ledger)

        assert (halt_of(workspace), status_of(known, ledger)) == (halted, held)
        assert ledger.begin(known.id, 0, "cpu@here").attempt == -1

    @pytest.mark.parametrize(("steer", "halted"), [(pause_job, "paused"), (cancel_job, "cancelled")])
    def test_without_redis_the_workspace_holds_the_halt(
        self, steer: Steer, halted: str, planned: Job, workspace: Workspace
    ) -> None:
        steer(planned, workspace, None)

        assert halt_of(workspace) == halted

    @pytest.mark.parametrize(("steer", "halted"), [(pause_job, "paused"), (cancel_job, "cancelled")])
    def test_a_redis_that_has_lost_the_job_changes_nothing(
        self, steer: Steer, halted: str, planned: Job, workspace: Workspace, ledger: Ledger
    ) -> None:
        steer(planned, workspace, ledger)

        assert (halt_of(workspace), ledger.load(planned.id)) == (halted, None)

    @pytest.mark.parametrize("steer", [pause_job, cancel_job])
    def test_it_is_idempotent(self, steer: Steer, known: Job, workspace: Workspace, ledger: Ledger) -> None:
        steer(known, workspace, ledger)
        once = (halt_of(workspace), status_of(known, ledger))

        steer(known, workspace, ledger)

        assert (halt_of(workspace), status_of(known, ledger)) == once

    def test_a_paused_job_can_be_cancelled(self, known: Job, workspace: Workspace, ledger: Ledger) -> None:
        pause_job(known, workspace, ledger)

        cancel_job(known, workspace, ledger)

        assert (halt_of(workspace), status_of(known, ledger)) == ("cancelled", "cancelling")

    @pytest.mark.parametrize("steer", [pause_job, cancel_job])
    def test_submitting_again_continues_the_job(
        self,
        steer: Steer,
        known: Job,
        workspace: Workspace,
        ledger: Ledger,
        dispatcher: Dispatcher,
        queue: Any,
        write_part: Any,
    ) -> None:
        write_part(0)
        steer(known, workspace, ledger)

        submit_job(known, workspace, Listing(iter(()), Counter()), ledger, dispatcher)

        assert (halt_of(workspace), status_of(known, ledger), queue.sent) == (None, "in_progress", [1, 2])


class TestRetryErrors:
    def test_the_failed_items_become_further_chunks_in_source_order(
        self, complete: Job, workspace: Workspace
    ) -> None:
        job = add_retry(complete, workspace, None)

        assert job.retries == (Retry(first_chunk=3, chunks=2, items=3),)
        assert [chunk_ids(workspace, 3), chunk_ids(workspace, 4)] == [["1.png", "2.png"], ["4.png"]]
        assert workspace.load_job() == job
        assert not workspace.store.exists(workspace.success)

    def test_repeated_before_the_merge_it_is_the_same_round(
        self, complete: Job, workspace: Workspace, read_again: Callable[..., None]
    ) -> None:
        job = add_retry(complete, workspace, None)
        before = files(workspace)
        assert add_retry(job, workspace, None) == job

        read_again(job.retries[0])

        assert add_retry(job, workspace, None) == job
        assert [name for name in files(workspace) if "parts" not in name] == [
            name for name in before if "parts" not in name
        ]

    @pytest.mark.parametrize("step", range(4))
    def test_interrupted_at_any_step_and_repeated_it_is_one_round(
        self, step: int, complete: Job, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a retry that dies before its step-th write: two chunks, job.json, the marker
        steps = iter(range(4))

        def dying(method: str) -> Callable[..., Any]:
            real = getattr(type(workspace.store), method)

            def call(*arguments: Any) -> Any:
                if next(steps) == step:
                    raise StorageUnavailableError("killed")
                return real(*arguments)

            return call

        with monkeypatch.context() as killed:
            for method in ("create", "replace", "delete"):
                killed.setattr(type(workspace.store), method, dying(method))
            with pytest.raises(StorageUnavailableError):
                add_retry(complete, workspace, None)

        # when it is repeated
        job = add_retry(workspace.require_job(), workspace, None)

        # then
        assert job.retries == (Retry(first_chunk=3, chunks=2, items=3),)
        assert workspace.chunk_numbers() == set(range(5))
        assert not workspace.store.exists(workspace.success)
        assert workspace.load_job() == job

    def test_a_second_round_holds_the_items_that_failed_in_the_first(
        self, complete: Job, workspace: Workspace, read_again: Callable[..., None]
    ) -> None:
        job = add_retry(complete, workspace, None)
        read_again(job.retries[0], "1.png", "4.png")
        merge(job, workspace)

        job = add_retry(job, workspace, None)

        assert job.retries[1:] == (Retry(first_chunk=5, chunks=1, items=2),)
        assert chunk_ids(workspace, 5) == ["1.png", "4.png"]

    def test_a_call_that_another_one_has_overtaken_says_so(
        self, complete: Job, workspace: Workspace, read_again: Callable[..., None]
    ) -> None:
        job = add_retry(complete, workspace, None)
        read_again(job.retries[0], "4.png")
        merge(job, workspace)

        with pytest.raises(JobStateError, match="was retried by another call meanwhile"):
            add_retry(complete, workspace, None)

        assert workspace.load_job() == job

    def test_submitting_a_round_sends_only_its_chunks_and_counts_every_item_once(
        self,
        complete: Job,
        workspace: Workspace,
        ledger: Ledger,
        dispatcher: Dispatcher,
        queue: Any,
        read_again: Callable[..., None],
    ) -> None:
        job = add_retry(complete, workspace, None)
        submit_job(job, workspace, Listing(iter(()), Counter()), ledger, dispatcher)
        assert queue.sent == [3, 4]

        read_again(job.retries[0], "4.png")
        submit_job(job, workspace, Listing(iter(()), Counter()), ledger, dispatcher)

        progress = ledger.load(job.id)
        assert progress is not None
        assert (progress.items_total, progress.completed, progress.failed) == (5, 4, 1)
        assert progress.status == "finalizing"

    def test_a_job_without_failures_is_refused_and_stays_complete(
        self, planned: Job, workspace: Workspace, write_part: Any
    ) -> None:
        for number in range(3):
            write_part(number)
        merge(planned, workspace)
        before = files(workspace)

        with pytest.raises(UsageError, match="has no failed items"):
            add_retry(planned, workspace, None)

        assert files(workspace) == before


class TestGc:
    @pytest.fixture
    def cancelled(self, planned: Job, workspace: Workspace, write_part: Any) -> Job:
        """Given a cancelled job, read in part."""
        write_part(0)
        cancel_job(planned, workspace, None)
        return planned

    def test_everything_that_the_job_wrote_is_removed_and_counted(
        self, cancelled: Job, workspace: Workspace
    ) -> None:
        written = len(files(workspace))

        assert remove_job(cancelled, workspace, None) == written
        assert files(workspace) == []

    def test_files_that_killed_writers_left_are_removed_too(
        self, cancelled: Job, workspace: Workspace
    ) -> None:
        Path(workspace.root, "parts", ".000001.jsonl.4711-0badcafe.tmp").write_bytes(b"half")

        remove_job(cancelled, workspace, None)

        assert files(workspace) == []

    def test_files_that_the_job_did_not_write_stay(self, cancelled: Job, workspace: Workspace) -> None:
        # given a job that was never merged, and files of somebody else with names of ours and of theirs
        theirs = {
            "_SUCCESS",
            "chunks/000003.jsonl",
            "chunks/notes.csv",
            "errors.jsonl",
            "exports/0.txt",
            "notes.txt",
            "page_exports/000000.pdf",
            "parts/.000000.jsonl.tmp",
            "parts/.important.csv.4711-0badcafe.tmp",
            "parts/000003.jsonl",
            "parts/important.csv",
            "results.jsonl",
            "statistics/000000.txt",
            "summary.json",
        }
        for name in theirs:
            workspace.store.replace(workspace.path(*name.split("/")), b"theirs")

        remove_job(cancelled, workspace, None)

        assert set(files(workspace)) == theirs

    def test_what_lies_behind_a_link_stays(
        self, cancelled: Job, workspace: Workspace, tmp_path: Path
    ) -> None:
        # given a job whose folder of parts was moved and replaced by a link
        Path(workspace.root, "parts").rename(tmp_path / "elsewhere")
        Path(workspace.root, "parts").symlink_to(tmp_path / "elsewhere")

        remove_job(cancelled, workspace, None)

        assert [path.name for path in (tmp_path / "elsewhere").iterdir()] == ["000000.jsonl"]

    @pytest.mark.parametrize("recorded", [True, False], ids=["recorded", "by an older version"])
    def test_what_an_earlier_merge_wrote_is_removed(
        self, recorded: bool, complete: Job, workspace: Workspace
    ) -> None:
        if not recorded:
            workspace.store.delete(workspace.merge_json)
        for at in (1.0, 2.0):
            record(workspace, [Correction("a", 0, 0, "read", "right", "mia", at)])
            if at == 1:
                fold(workspace)
        job = add_retry(complete, workspace, None)
        cancel_job(job, workspace, None)

        remove_job(job, workspace, None)

        assert files(workspace) == []

    def test_chunks_of_a_plan_without_an_end_are_removed(
        self, job: Job, workspace: Workspace, planned: Job
    ) -> None:
        workspace.save_job(job)
        workspace.store.replace(workspace.chunk(7), b"theirs")
        cancel_job(job, workspace, None)

        remove_job(job, workspace, None)

        assert files(workspace) == ["chunks/000007.jsonl"]

    @pytest.mark.parametrize("step", range(7))
    def test_interrupted_at_any_step_and_repeated_it_removes_everything(
        self, step: int, cancelled: Job, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a removal that is killed before it deletes its step-th existing file
        there = iter(range(len(files(workspace))))
        real = type(workspace.store).delete

        def delete(store: Any, uri: str) -> None:
            if store.exists(uri) and next(there) == step:
                raise StorageUnavailableError("killed")
            real(store, uri)

        with monkeypatch.context() as killed:
            killed.setattr(type(workspace.store), "delete", delete)
            with pytest.raises(StorageUnavailableError):
                remove_job(cancelled, workspace, None)

        # when it is repeated
        remove_job(workspace.require_job(), workspace, None)

        # then
        assert files(workspace) == []


class TestMergedWithRetries:
    """A retry's lines take the places of the failed ones; everything else stays as it was."""

    def lines(self, workspace: Workspace, uri: str) -> list[dict[str, Any]]:
        return [msgspec.json.decode(line) for line in workspace.lines(uri)]

    def test_a_retried_line_keeps_its_place_in_source_order(
        self, complete: Job, workspace: Workspace, read_again: Callable[..., None]
    ) -> None:
        job = add_retry(complete, workspace, None)
        read_again(job.retries[0], "2.png")

        summary = merge(job, workspace)

        assert [(line["id"], line["value"]) for line in self.lines(workspace, workspace.results)] == [
            ("0.png", "text 0.png"),
            ("1.png", "again 1.png"),
            ("3.png", "text 3.png"),
            ("4.png", "again 4.png"),
        ]
        (error,) = self.lines(workspace, workspace.errors)
        assert (error["id"], error["error"]["message"]) == ("2.png", "still")
        assert summary["request_counts"] == {"total": 5, "completed": 4, "failed": 1}
        assert summary["retries"] == 1

    def test_two_rounds_are_applied_in_order(
        self, complete: Job, workspace: Workspace, read_again: Callable[..., None]
    ) -> None:
        job = add_retry(complete, workspace, None)
        read_again(job.retries[0], "1.png", "4.png")
        merge(job, workspace)
        job = add_retry(job, workspace, None)
        read_again(job.retries[1], "4.png")

        summary = merge(job, workspace)

        results = self.lines(workspace, workspace.results)
        assert [line["id"] for line in results] == ["0.png", "1.png", "2.png", "3.png"]
        assert [line["value"].split()[0] for line in results] == ["text", "again", "again", "text"]
        assert [line["id"] for line in self.lines(workspace, workspace.errors)] == ["4.png"]
        assert summary["request_counts"] == {"total": 5, "completed": 4, "failed": 1}

    @pytest.mark.parametrize(
        "now_failing", [(), ("3.png",), ("2.png", "3.png")], ids=["none", "another", "one more"]
    )
    def test_a_planned_part_read_again_after_a_retry_never_loses_or_duplicates_an_item(
        self,
        now_failing: tuple[str, ...],
        complete: Job,
        workspace: Workspace,
        read_again: Callable[..., None],
        write_part: Any,
    ) -> None:
        """As after "delete that part and submit the job again": other items may fail than the retry holds."""
        job = add_retry(complete, workspace, None)
        read_again(job.retries[0])
        write_part(1, failed=now_failing)

        with pytest.raises(JobError):
            merge(job, workspace)

        assert not workspace.store.exists(workspace.success)

    def test_the_status_without_redis_counts_every_item_once(
        self, complete: Job, workspace: Workspace, read_again: Callable[..., None]
    ) -> None:
        job = add_retry(complete, workspace, None)
        begun = status_from_workspace(job, workspace)
        read_again(job.retries[0], "2.png")
        read = status_from_workspace(job, workspace)
        merge(job, workspace)
        merged = status_from_workspace(job, workspace)

        assert [status.status for status in (begun, read, merged)] == ["in_progress"] * 2 + ["completed"]
        assert [status.request_counts for status in (begun, read, merged)] == [
            RequestCounts(5, 2, 3),
            RequestCounts(5, 4, 1),
            RequestCounts(5, 4, 1),
        ]
        assert [status.chunks for status in (begun, read, merged)] == [
            ChunkCounts(5, 3),
            ChunkCounts(5, 5),
            ChunkCounts(5, 5),
        ]
