"""The one place that decides what an error means: drop, put back, drop for re-send, or fail the job."""

from collections.abc import Callable
from typing import Any

import pytest
import redis
from celery.exceptions import Reject
from structlog.testing import capture_logs

from contract.broker.ledger import Ledger
from contract.errors import (
    AccessDeniedError,
    CredentialsError,
    FileUnavailableError,
    InterruptedChunkError,
    JobError,
    MessageError,
    ModelUnavailableError,
    StorageUnavailableError,
)
from contract.records import ChunkMessage
from contract.workspace import Workspace
from worker.app import tasks
from worker.app.tasks import MAX_ATTEMPTS, run_message, run_nudge
from worker.jobs.chunk import WorkerContext

Deliver = Callable[..., dict[str, object]]


@pytest.fixture
def payload(message: ChunkMessage) -> dict[str, Any]:
    return {"job": message.job, "workspace": message.workspace, "chunk": message.chunk}


@pytest.fixture
def deliver(payload: dict[str, Any], context: WorkerContext) -> Deliver:
    """Deliver the chunk's message, with some of its fields changed."""

    def run(*args: object, **changes: object) -> dict[str, object]:
        return run_message("recognition", args, {**payload, **changes}, context, lambda: None)

    return run


@pytest.fixture
def ends_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception], None]:
    """Let every run of a chunk begin and then end with an error."""

    def arrange(error: Exception) -> None:
        def read(message: ChunkMessage, context: WorkerContext, renew: object) -> dict[str, object]:
            context.ledger.begin(message.job, message.chunk, context.name)
            raise error

        monkeypatch.setattr(tasks, "read_chunk", read)

    return arrange


def status_of(ledger: Ledger, message: ChunkMessage) -> str:
    progress = ledger.load(message.job)
    assert progress is not None
    return progress.status


class TestDone:
    def test_a_chunk_that_is_read_returns_what_flower_shows(self, deliver: Deliver) -> None:
        outcome = deliver()

        assert (outcome["ok"], outcome["failed"]) == (2, 0)


class TestDropped:
    """Acknowledged and forgotten: no retry would make the message a good one."""

    @pytest.mark.parametrize(
        "changes",
        [
            {"chunk": -1},
            {"chunk": "0"},
            {"chunk": 100_000_000},
            {"job": "../../etc"},
            {"job": ""},
            {"workspace": ""},
            {"workspace": "x" * 5000},
            {"callback": "os.system"},
        ],
        ids=str,
    )
    def test_malformed(self, deliver: Deliver, changes: dict[str, object], recognisers: Any) -> None:
        assert "dropped" in deliver(**changes)
        assert recognisers.asked == []

    def test_positional_arguments(self, deliver: Deliver, recognisers: Any) -> None:
        assert "dropped" in deliver("crops-1")
        assert recognisers.asked == []

    def test_forbidden(self, deliver: Deliver, ledger: Ledger, message: ChunkMessage) -> None:
        assert "allowed roots" in str(deliver(workspace="/etc")["dropped"])
        assert status_of(ledger, message) == "in_progress"

    def test_refused_by_the_chunk(self, deliver: Deliver, ends_with: Callable[[Exception], None]) -> None:
        ends_with(MessageError("for another job"))

        assert deliver() == {"dropped": "for another job"}


class TestPutBack:
    def test_a_stopping_worker_puts_the_message_back_and_the_run_does_not_count(
        self, deliver: Deliver, ends_with: Callable[[Exception], None], ledger: Ledger, message: ChunkMessage
    ) -> None:
        ends_with(InterruptedChunkError("stopping"))

        with pytest.raises(Reject) as rejected:
            deliver()

        assert rejected.value.requeue
        assert ledger.attempts(message.job, message.chunk) == 0
        assert status_of(ledger, message) == "in_progress"


class TestDroppedForResend:
    """Rejected without requeue: the reconciler sends the chunk again."""

    @pytest.mark.parametrize(
        "error",
        [
            StorageUnavailableError("S3 cannot be reached"),
            redis.ConnectionError("Redis is away"),
            redis.TimeoutError("Redis is slow"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_an_outage_is_waited_out_however_long_it_takes(
        self,
        deliver: Deliver,
        ends_with: Callable[[Exception], None],
        ledger: Ledger,
        message: ChunkMessage,
        error: Exception,
    ) -> None:
        ends_with(error)

        for _ in range(2 * MAX_ATTEMPTS):
            with pytest.raises(Reject) as rejected:
                deliver()
            assert not rejected.value.requeue

        assert status_of(ledger, message) == "in_progress"

    def test_the_reason_is_reported_until_a_run_of_the_job_writes_its_part(
        self,
        deliver: Deliver,
        ends_with: Callable[[Exception], None],
        context: WorkerContext,
        message: ChunkMessage,
    ) -> None:
        ends_with(StorageUnavailableError("s3://me:secret@out/parts: No space left on device"))
        for _ in range(2):
            with pytest.raises(Reject):
                deliver()

        (told,) = context.troubles.current()
        assert (told.job, told.runs) == (message.job, 2)
        assert "No space left on device" in told.error
        assert "secret" not in told.error

        context.troubles.clear("another")
        assert context.troubles.current()
        context.troubles.clear(message.job)
        assert context.troubles.current() == ()

    def test_storage_that_fails_on_one_file_counts_the_run_and_fails_no_job(
        self,
        deliver: Deliver,
        ends_with: Callable[[Exception], None],
        ledger: Ledger,
        message: ChunkMessage,
    ) -> None:
        ends_with(FileUnavailableError("a.png: Input/output error"))

        for _ in range(MAX_ATTEMPTS):
            with pytest.raises(Reject) as rejected:
                deliver()
            assert not rejected.value.requeue

        assert ledger.attempts(message.job, message.chunk) == MAX_ATTEMPTS
        assert status_of(ledger, message) == "in_progress"

    def test_an_unexpected_error_is_retried_and_then_fails_the_job(
        self,
        deliver: Deliver,
        ends_with: Callable[[Exception], None],
        ledger: Ledger,
        message: ChunkMessage,
        workspace: Workspace,
    ) -> None:
        ends_with(ZeroDivisionError("a bug"))

        statuses = []
        for _ in range(MAX_ATTEMPTS):
            with pytest.raises(Reject) as rejected:
                deliver()
            assert not rejected.value.requeue
            statuses.append(status_of(ledger, message))

        assert statuses == ["in_progress"] * (MAX_ATTEMPTS - 1) + ["failed"]
        halt = workspace.load_halt()
        assert halt is not None
        assert halt.status == "failed"
        assert "chunk 0 failed 5 times (ZeroDivisionError: a bug)" in halt.message

    def test_outages_do_not_count_as_unexpected_errors(
        self, deliver: Deliver, ends_with: Callable[[Exception], None], ledger: Ledger, message: ChunkMessage
    ) -> None:
        # given a long outage
        ends_with(StorageUnavailableError("S3 cannot be reached"))
        for _ in range(MAX_ATTEMPTS):
            with pytest.raises(Reject):
                deliver()

        # when one run then ends in an unexpected error
        ends_with(ZeroDivisionError("a bug"))
        with pytest.raises(Reject):
            deliver()

        # then the job goes on
        assert status_of(ledger, message) == "in_progress"


class TestJobFails:
    @pytest.mark.parametrize("error", [JobError("damaged job.json"), ModelUnavailableError("no weights")])
    def test_at_once_with_the_message(
        self,
        deliver: Deliver,
        ends_with: Callable[[Exception], None],
        ledger: Ledger,
        message: ChunkMessage,
        workspace: Workspace,
        error: Exception,
    ) -> None:
        ends_with(error)

        assert deliver() == {"job_failed": str(error)}

        progress = ledger.load(message.job)
        assert progress is not None
        assert (progress.status, progress.error) == ("failed", str(error))
        halt = workspace.load_halt()
        assert halt is not None
        assert (halt.status, halt.message) == ("failed", str(error))

    def test_at_once_if_the_workspace_is_someone_elses(
        self, deliver: Deliver, ends_with: Callable[[Exception], None], ledger: Ledger, message: ChunkMessage
    ) -> None:
        ends_with(AccessDeniedError("/results/parts: Permission denied"))

        assert "must be readable and writable for the workers, which run as" in str(deliver())
        assert status_of(ledger, message) == "failed"

    def test_not_at_once_if_a_bucket_denies_access(
        self, deliver: Deliver, ends_with: Callable[[Exception], None], ledger: Ledger, message: ChunkMessage
    ) -> None:
        ends_with(AccessDeniedError("S3 denies access to s3://results/parts"))

        for _ in range(MAX_ATTEMPTS - 1):
            with pytest.raises(Reject):
                deliver(workspace="s3://results")

        assert status_of(ledger, message) == "in_progress"
        with pytest.raises(Reject):
            deliver(workspace="s3://results")
        assert status_of(ledger, message) == "failed"

    def test_not_if_the_credentials_have_expired(
        self, deliver: Deliver, ends_with: Callable[[Exception], None], ledger: Ledger, message: ChunkMessage
    ) -> None:
        ends_with(CredentialsError("ExpiredToken"))

        with pytest.raises(Reject), capture_logs() as logs:
            deliver()

        assert status_of(ledger, message) == "in_progress"

        # and the log says what is wrong and which run this was, without a traceback
        told = [(one["event"], one["error"], one["attempt"], one["exc_info"]) for one in logs]
        assert told == [("chunk_failed", "ExpiredToken", 1, None)]

    def test_its_other_chunks_are_skipped(self, deliver: Deliver, recognisers: Any) -> None:
        recognisers.error = ModelUnavailableError("no weights")
        deliver()
        recognisers.error = None

        assert deliver(chunk=1) == {"skipped": "job is failed"}
        assert recognisers.asked == ["crnn_vgg16_bn"]


class TestNudges:
    @pytest.mark.parametrize(
        "payload",
        [
            {},
            {"kind": "tesseract", "batch_size": 4},
            {"kind": "recognition", "batch_size": 0},
            {"kind": "recognition", "batch_size": 4, "more": 1},
        ],
    )
    def test_a_malformed_nudge_is_dropped(self, payload: dict[str, Any], context: WorkerContext) -> None:
        assert "dropped" in run_nudge((), payload, context)

    def test_a_nudge_of_a_worker_that_stops_goes_back(
        self, context: WorkerContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def stopping(*_: Any) -> None:
            raise InterruptedChunkError("stopping")

        monkeypatch.setattr(tasks, "read_uploads", stopping)

        with pytest.raises(Reject) as rejected:
            run_nudge((), {"kind": "recognition", "batch_size": 4}, context)

        assert rejected.value.requeue

    def test_a_nudge_that_fails_is_dropped_without_requeue(
        self, context: WorkerContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(*_: Any) -> None:
            raise redis.ConnectionError

        monkeypatch.setattr(tasks, "read_uploads", away)

        with pytest.raises(Reject) as rejected:
            run_nudge((), {"kind": "recognition", "batch_size": 4}, context)

        assert not rejected.value.requeue
