"""A chunk from its message to its durable part and its mark; storage decides what is done."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.broker.ledger import Ledger
from contract.errors import (
    ArchivedError,
    CredentialsError,
    FileUnavailableError,
    InterruptedChunkError,
    JobError,
    MessageError,
    ModelUnavailableError,
    StorageBusyError,
    StorageError,
    StorageRefusedError,
    StorageUnavailableError,
)
from contract.job import Job
from contract.lines import encode_line
from contract.records import ChunkMessage, Item
from contract.storage.local import LocalStore
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace
from worker.app.making import make_feeders
from worker.images.fetching import STORAGE_ATTEMPTS
from worker.jobs.chunk import UNREAD_RUNS, WorkerContext, read_chunk


def renew() -> None:
    """Renew nothing: there is no broker."""


def lines_of(workspace: Workspace, chunk: int) -> list[dict[str, Any]]:
    return [msgspec.json.decode(line) for line in workspace.lines(workspace.part(chunk))]


class TestDone:
    def test_the_part_is_written_and_the_chunk_marked(
        self, message: ChunkMessage, context: WorkerContext, workspace: Workspace, ledger: Ledger
    ) -> None:
        outcome = read_chunk(message, context, renew)

        assert [line["value"] for line in lines_of(workspace, 0)] == ["10", "20"]
        assert (outcome["ok"], outcome["failed"]) == (2, 0)
        progress = ledger.load(message.job)
        assert progress is not None
        assert (progress.chunks_done, progress.completed, progress.running) == (1, 2, ())

    def test_a_report_names_the_chunk_while_it_is_read(
        self,
        message: ChunkMessage,
        context: WorkerContext,
        job: Job,
        reader: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        seen: list[dict[str, Any]] = []
        read = reader.read
        monkeypatch.setattr(
            reader, "read", lambda batch: (seen.append(context.pace.figures()), read(batch))[1]
        )

        read_chunk(message, context, renew)

        [held] = seen[0]["in_hand"]
        assert (held.job, held.chunk, seen[0]["work"]) == (job.id, message.chunk, "recognition fake")
        assert context.pace.figures()["in_hand"] == ()

    def test_bad_items_are_counted_and_the_chunk_is_done(
        self, message: ChunkMessage, context: WorkerContext, workspace: Workspace, ledger: Ledger, job: Job
    ) -> None:
        Path(job.source.uri, "20.png").write_bytes(b"no image")

        outcome = read_chunk(message, context, renew)

        assert (outcome["ok"], outcome["failed"]) == (1, 1)
        assert lines_of(workspace, 0)[1]["error"]["code"] == "not_an_image"
        progress = ledger.load(message.job)
        assert progress is not None
        assert (progress.completed, progress.failed) == (1, 1)

    def test_the_last_chunk_finishes_the_job(
        self, message: ChunkMessage, context: WorkerContext, ledger: Ledger
    ) -> None:
        read_chunk(message, context, renew)
        assert ledger.next_finished(timeout=0.01) is None

        read_chunk(msgspec.structs.replace(message, chunk=1), context, renew)

        assert ledger.next_finished(timeout=0.01) == message.job

    def test_what_this_run_has_written_is_marked_without_reading_it_again(
        self,
        message: ChunkMessage,
        context: WorkerContext,
        workspace: Workspace,
        ledger: Ledger,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        asked: list[str] = []
        read = type(workspace.store).read

        def noting(store: Any, uri: str, limit: int) -> bytes:
            asked.append(uri)
            return read(store, uri, limit)

        monkeypatch.setattr(type(workspace.store), "read", noting)
        outcome = read_chunk(message, context, renew)

        assert {uri for uri in asked if uri.startswith(workspace.root)} == {
            workspace.job_json,
            workspace.chunk(0),
        }
        progress = ledger.load(message.job)
        assert progress is not None
        assert (progress.chunks_done, progress.completed) == (1, outcome["ok"])
        assert progress.stage_seconds["write"] > 0

    def test_statistics_say_which_model_and_worker(
        self, message: ChunkMessage, context: WorkerContext, workspace: Workspace, recognisers: Any, job: Job
    ) -> None:
        read_chunk(message, context, renew)

        statistics = workspace.load_statistics(0)
        assert statistics is not None
        assert (statistics.models, statistics.worker) == (({"architecture": "fake"},), "cpu@here")
        assert recognisers.asked == [job.parameters.recognition_model]

    def test_the_attempt_is_told_in_error_lines(
        self, message: ChunkMessage, context: WorkerContext, workspace: Workspace, ledger: Ledger, job: Job
    ) -> None:
        # given a chunk whose first run was lost with its worker
        ledger.begin(job.id, 0, "lost@there")
        Path(job.source.uri, "10.png").unlink()

        read_chunk(message, context, renew)

        assert lines_of(workspace, 0)[0]["attempts"] == 2

    def test_images_of_a_chunk_that_lost_its_worker_are_decoded_in_a_feeder(
        self, message: ChunkMessage, context: WorkerContext, ledger: Ledger, workspace: Workspace
    ) -> None:
        # given a worker that decodes in threads; a chunk for the first time; one whose first run was lost
        context = replace(context, settings=context.settings.model_copy(update={"feeders": 0}))
        ledger.begin(message.job, 1, "lost@there")

        started = []
        with contextlib.closing(make_feeders(context.settings, context.metrics.s3)) as feeders:
            for chunk in (0, 1):
                again = msgspec.structs.replace(message, chunk=chunk)
                read_chunk(again, replace(context, feeders=feeders), renew)
                started.append(len(feeders.pids))

        assert started == [0, 1]
        assert [line["value"] for line in lines_of(workspace, 1)] == ["30", "40"]


class TestNothingTwice:
    def test_a_chunk_whose_part_exists_is_only_marked(
        self, message: ChunkMessage, context: WorkerContext, workspace: Workspace, recognisers: Any
    ) -> None:
        # given the part of a worker that died before its mark
        part = b'{"id":"a","name":"a","value":"theirs","confidence":1.0}\n' * 2
        workspace.store.create(workspace.part(0), part)

        outcome = read_chunk(message, context, renew)

        assert outcome == {"ok": 2, "failed": 0}
        assert recognisers.asked == []
        assert [line["value"] for line in lines_of(workspace, 0)] == ["theirs"] * 2

    def test_a_second_delivery_counts_nothing(
        self, message: ChunkMessage, context: WorkerContext, ledger: Ledger, reader: Any
    ) -> None:
        read_chunk(message, context, renew)
        read_chunk(message, context, renew)

        progress = ledger.load(message.job)
        assert progress is not None
        assert (progress.chunks_done, progress.completed) == (1, 2)
        assert reader.batch_sizes == [2]

    def test_who_comes_second_marks_what_storage_holds(
        self,
        message: ChunkMessage,
        context: WorkerContext,
        workspace: Workspace,
        ledger: Ledger,
        recognisers: Any,
        reader: Any,
    ) -> None:
        # given another worker whose part, with one failed item, appears while this one reads
        part = (
            b'{"id":"10.png","name":"10.png","value":"10","confidence":0.1}\n'
            b'{"id":"20.png","uri":"u","error":{"code":"not_found","message":"gone"},"attempts":1}\n'
        )

        def appear(architecture: str) -> Any:
            workspace.store.create(workspace.part(0), part)
            return reader

        recognisers.get = appear

        assert read_chunk(message, context, renew)["failed"] == 1
        progress = ledger.load(message.job)
        assert progress is not None
        assert (progress.completed, progress.failed) == (1, 1)

    @pytest.mark.parametrize("status", ["cancelled", "failed", "completed"])
    def test_the_chunk_of_a_job_that_does_not_run_is_skipped(
        self,
        message: ChunkMessage,
        context: WorkerContext,
        workspace: Workspace,
        ledger: Ledger,
        recognisers: Any,
        status: str,
    ) -> None:
        ledger.finish(message.job, status, 3600)

        outcome = read_chunk(message, context, renew)

        assert outcome == {"skipped": f"job is {status}"}
        assert recognisers.asked == []
        assert workspace.part_numbers() == set()

    @pytest.mark.parametrize("status", ["paused", "cancelling"])
    def test_the_chunk_of_a_held_job_is_skipped(
        self, message: ChunkMessage, context: WorkerContext, workspace: Workspace, ledger: Ledger, status: str
    ) -> None:
        ledger.hold(message.job, status)

        assert read_chunk(message, context, renew) == {"skipped": f"job is {status}"}
        assert workspace.part_numbers() == set()

    def test_a_job_that_redis_lost_is_entered_again_and_read(
        self,
        message: ChunkMessage,
        context: WorkerContext,
        workspace: Workspace,
        fake_redis: Any,
        ledger: Ledger,
    ) -> None:
        fake_redis.flushall()

        read_chunk(message, context, renew)

        assert workspace.part_numbers() == {0}
        progress = ledger.load(message.job)
        assert progress is not None
        assert (progress.items_total, progress.completed) == (4, 2)

    def test_a_halted_job_that_redis_lost_stays_halted(
        self, message: ChunkMessage, context: WorkerContext, workspace: Workspace, fake_redis: Any
    ) -> None:
        workspace.halt("cancelled")
        fake_redis.flushall()

        assert read_chunk(message, context, renew) == {"skipped": "job is cancelled"}


class TestRefused:
    """A message is untrusted: the worker checks it against storage and the roots."""

    def test_a_workspace_outside_the_roots(
        self, message: ChunkMessage, context: WorkerContext, tmp_path: Path
    ) -> None:
        narrowed = replace(context, roots=AllowedRoots((str(tmp_path / "crops"),)))

        with pytest.raises(MessageError, match="TRACE_OCR_ALLOWED_ROOTS"):
            read_chunk(message, narrowed, renew)

    @pytest.mark.parametrize(
        ("workspace_uri", "said"),
        [("ftp://host/out", "no storage that this version knows"), ("https://host/out", "allowed roots")],
    )
    def test_a_workspace_nowhere(
        self, message: ChunkMessage, context: WorkerContext, workspace_uri: str, said: str
    ) -> None:
        with pytest.raises(MessageError, match=said):
            read_chunk(msgspec.structs.replace(message, workspace=workspace_uri), context, renew)

    def test_a_workspace_of_another_job(self, message: ChunkMessage, context: WorkerContext) -> None:
        with pytest.raises(MessageError, match=r"other-1.*crops-1"):
            read_chunk(msgspec.structs.replace(message, job="other-1"), context, renew)

    def test_a_folder_that_is_no_workspace(
        self, message: ChunkMessage, context: WorkerContext, tmp_path: Path
    ) -> None:
        stray = msgspec.structs.replace(message, workspace=str(tmp_path / "crops"))

        with pytest.raises(MessageError, match="is no job's"):
            read_chunk(stray, context, renew)

    @pytest.mark.parametrize("name", ["secret.png", "../secret.png"])
    def test_an_item_that_leads_out_of_the_source_folder(
        self,
        message: ChunkMessage,
        context: WorkerContext,
        workspace: Workspace,
        job: Job,
        tmp_path: Path,
        png: Callable[..., bytes],
        name: str,
    ) -> None:
        # given a file within the allowed roots but not in the job's folder, linked to from there
        (tmp_path / "secret.png").write_bytes(png(99))
        Path(job.source.uri, "secret.png").symlink_to(tmp_path / "secret.png")
        items = [Item(id="ok", uri=f"{job.source.uri}/30.png"), Item(id="s", uri=f"{job.source.uri}/{name}")]
        workspace.store.replace(workspace.chunk(1), b"".join(map(encode_line, items)))

        outcome = read_chunk(msgspec.structs.replace(message, chunk=1), context, renew)

        assert (outcome["ok"], outcome["failed"]) == (1, 1)
        good, refused = lines_of(workspace, 1)
        assert good["value"] == "30"
        assert refused["error"]["code"] == "outside_allowed_roots"

    def test_an_item_outside_the_roots_of_the_key_that_submitted_the_job(
        self, message: ChunkMessage, context: WorkerContext, workspace: Workspace, job: Job, tmp_path: Path
    ) -> None:
        # given a manifest of a job that may read one folder, and an item that is allowed but not in there
        (tmp_path / "ours").mkdir()
        source = job.source.model_copy(update={"confined": False})
        bounded = workspace.require_job().model_copy(
            update={"source": source, "roots": (str(tmp_path / "ours"),)}
        )
        workspace.save_job(bounded)
        item = Path(job.source.uri, "30.png")
        (tmp_path / "ours" / "a.png").write_bytes(item.read_bytes())
        items = [Item(id="a", uri=f"{tmp_path}/ours/a.png"), Item(id="b", uri=str(item))]
        workspace.store.replace(workspace.chunk(1), b"".join(map(encode_line, items)))

        read_chunk(msgspec.structs.replace(message, chunk=1), context, renew)

        good, refused = lines_of(workspace, 1)
        assert good["value"] == "30"
        assert refused["error"]["code"] == "outside_allowed_roots"

    def test_a_source_outside_the_workers_roots_fails_the_job_not_each_item(
        self, message: ChunkMessage, context: WorkerContext, workspace: Workspace
    ) -> None:
        narrowed = replace(context, roots=AllowedRoots((workspace.root,)))

        with pytest.raises(JobError, match="TRACE_OCR_ALLOWED_ROOTS"):
            read_chunk(message, narrowed, renew)


class TestStorageFails:
    """Storage that fails on one file costs that item; storage that is away costs none."""

    @pytest.fixture
    def away(self, monkeypatch: pytest.MonkeyPatch) -> set[str]:
        """Given storage that can neither read the files nor list the folders in this set."""
        away: set[str] = set()
        read, names = LocalStore.read, LocalStore.names

        def fail(uri: str) -> None:
            if uri in away:
                raise StorageUnavailableError(f"{uri}: Input/output error")

        def read_unless_away(self: LocalStore, uri: str, limit: int) -> bytes:
            fail(uri)
            return read(self, uri, limit)

        def names_unless_away(self: LocalStore, folder: str) -> Iterator[str]:
            fail(folder)
            return names(self, folder)

        monkeypatch.setattr(LocalStore, "read", read_unless_away)
        monkeypatch.setattr(LocalStore, "names", names_unless_away)
        return away

    def test_on_one_file_for_good_the_item_fails_after_a_few_runs(
        self, message: ChunkMessage, context: WorkerContext, workspace: Workspace, job: Job, away: set[str]
    ) -> None:
        away.add(f"{job.source.uri}/20.png")

        for _ in range(STORAGE_ATTEMPTS - 1):
            with pytest.raises(FileUnavailableError, match="Input/output error"):
                read_chunk(message, context, renew)
        read_chunk(message, context, renew)

        good, failed = lines_of(workspace, 0)
        assert (good["value"], failed["error"]["code"]) == ("10", "storage_failed")

    def test_on_one_file_for_a_while_nothing_is_lost(
        self, message: ChunkMessage, context: WorkerContext, workspace: Workspace, job: Job, away: set[str]
    ) -> None:
        away.add(f"{job.source.uri}/20.png")
        with pytest.raises(FileUnavailableError):
            read_chunk(message, context, renew)
        away.clear()

        assert read_chunk(message, context, renew)["failed"] == 0

    @pytest.mark.parametrize("busy", [False, True])
    def test_as_a_whole_no_item_is_blamed_however_often(
        self,
        message: ChunkMessage,
        context: WorkerContext,
        job: Job,
        away: set[str],
        busy: bool,
        ledger: Ledger,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def ask_for_less(*_: object) -> bytes:
            raise StorageBusyError("S3 asks for fewer requests")

        away.update((f"{job.source.uri}/20.png", job.source.uri))
        if busy:
            monkeypatch.setattr("worker.images.fetching.fetch", ask_for_less)

        for _ in range(2 * STORAGE_ATTEMPTS):
            with pytest.raises(StorageUnavailableError) as raised:
                read_chunk(message, context, renew)
            assert not isinstance(raised.value, FileUnavailableError)
            # As `run_message` does.
            ledger.hand_back(message.job, message.chunk)

    @pytest.mark.parametrize(
        ("error", "code"),
        [(ArchivedError("in an archive"), "archived"), (StorageRefusedError("KMS"), "storage_refused")],
    )
    def test_what_no_retry_changes_is_an_item_error_at_once(
        self,
        error: StorageError,
        code: str,
        message: ChunkMessage,
        context: WorkerContext,
        workspace: Workspace,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        read = LocalStore.read

        def refuse(self: LocalStore, uri: str, limit: int) -> bytes:
            if uri.endswith("20.png"):
                raise error
            return read(self, uri, limit)

        monkeypatch.setattr(LocalStore, "read", refuse)

        read_chunk(message, context, renew)

        assert lines_of(workspace, 0)[1]["error"]["code"] == code

    def test_credentials_that_are_not_accepted_blame_no_item(
        self, message: ChunkMessage, context: WorkerContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(*_: object) -> None:
            raise CredentialsError("S3 does not accept the credentials")

        monkeypatch.setattr("worker.images.fetching.fetch", refuse)

        with pytest.raises(CredentialsError):
            read_chunk(message, context, renew)


class TestNotDone:
    """What ends a chunk early leaves no part and no mark."""

    @pytest.fixture(autouse=True)
    def nothing_is_left(self, message: ChunkMessage, workspace: Workspace, ledger: Ledger) -> Any:
        yield
        assert workspace.part_numbers() == set()
        assert ledger.done(message.job) == set()

    def test_a_worker_that_stops(self, message: ChunkMessage, context: WorkerContext) -> None:
        context.stop.set()

        with pytest.raises(InterruptedChunkError):
            read_chunk(message, context, renew)

    def test_a_model_that_is_not_to_be_had(
        self, message: ChunkMessage, context: WorkerContext, recognisers: Any
    ) -> None:
        recognisers.error = ModelUnavailableError("no weights")

        with pytest.raises(ModelUnavailableError):
            read_chunk(message, context, renew)


class TestAProcessThatDiesBeforeItReads:
    def test_the_job_fails_after_some_runs_and_says_what_to_look_at(
        self, message: ChunkMessage, context: WorkerContext, ledger: Ledger
    ) -> None:
        # Given runs that began, and were killed while their models were loaded
        for _ in range(UNREAD_RUNS):
            ledger.begin(message.job, message.chunk, context.name)

        # When a further process takes the chunk, then it fails the job instead of dying like them
        with pytest.raises(JobError, match=r"died 5 times before .* chunk 0.*status -9.*memory"):
            read_chunk(message, context, renew)

    @pytest.mark.parametrize("sign_of_life", ["progress", "hand_back"])
    def test_a_run_that_read_an_item_or_was_handed_back_begins_the_count_again(
        self, sign_of_life: str, message: ChunkMessage, context: WorkerContext, ledger: Ledger
    ) -> None:
        for _ in range(UNREAD_RUNS):
            ledger.begin(message.job, message.chunk, context.name)
        if sign_of_life == "progress":
            ledger.progress(message.job, message.chunk, 1, context.name)
        else:
            ledger.hand_back(message.job, message.chunk)

        assert read_chunk(message, context, renew)["ok"] == 2
