"""Every error of the product, under one root; a message says what was wrong, with what, and what to do."""

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Exit statuses of `trace-ocr`, the same for every command."""

    OK = 0
    ITEMS_FAILED = 1
    USAGE = 2
    FAILED = 3
    INTERRUPTED = 130
    """After Ctrl-C, as shells have it: 128 plus SIGINT."""


class ErrorCode(StrEnum):
    """Why one item has no result: the closed list that `errors.jsonl` draws from."""

    NOT_FOUND = "not_found"
    ACCESS_DENIED = "access_denied"
    OUTSIDE_ALLOWED_ROOTS = "outside_allowed_roots"
    UNSUPPORTED_URI = "unsupported_uri"
    EMPTY_FILE = "empty_file"
    TOO_MANY_BYTES = "too_many_bytes"
    NOT_AN_IMAGE = "not_an_image"
    TRUNCATED = "truncated"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    EXTREME_ASPECT = "extreme_aspect"
    ENCRYPTED = "encrypted"
    NO_PAGES = "no_pages"
    NO_SUCH_PAGE = "no_such_page"
    DAMAGED_DOCUMENT = "damaged_document"
    DAMAGED_PAGE = "damaged_page"
    DETECTION_FAILED = "detection_failed"
    RECOGNITION_FAILED = "recognition_failed"
    WORKER_CRASHED = "worker_crashed"
    TIMED_OUT = "timed_out"


class TraceOcrError(Exception):
    """Root of every error this product raises on purpose."""

    exit_code = ExitCode.FAILED


class UsageError(TraceOcrError):
    """The caller asked for something that cannot be done as asked."""

    exit_code = ExitCode.USAGE


class SettingsError(UsageError):
    """A flag, a TRACE_OCR_ variable or the settings file holds a value that is not allowed."""


class WorkspaceConflictError(UsageError):
    """The workspace belongs to a job with other parameters."""


class JobStateError(UsageError):
    """The job is not in a state in which that can be done."""


class UnknownJobError(UsageError):
    """Neither the ledger nor storage knows the job or workspace that was named."""


class SourceError(TraceOcrError):
    """The source cannot be listed as asked: missing, empty, or a malformed manifest."""


class JobError(TraceOcrError):
    """The job itself cannot run; running it again unchanged would fail the same way."""


class ModelUnavailableError(JobError):
    """No weights for the architecture are to be had, or they failed verification."""


class BrokerError(TraceOcrError):
    """Redis is missing, too old, or cannot be started."""


class UnfitWorkerError(TraceOcrError):
    """This worker process cannot run any chunk: its device or its installation is at fault, not the job."""


class WorkerLostError(TraceOcrError):
    """The worker processes ended and do not stay up."""


class InterruptedChunkError(TraceOcrError):
    """The worker is shutting down: the chunk in hand goes back to the queue."""


class InterruptedRunError(TraceOcrError):
    """The user stopped the run; what is read stays read."""


class MessageError(TraceOcrError):
    """A queue message is malformed, too large, or names something it may not."""


class ChildCrashedError(TraceOcrError):
    """A request crashed the child processes that were asked it, or made them answer nonsense."""


class ChildTimedOutError(TraceOcrError):
    """A child process did not answer in time."""


class StorageError(TraceOcrError):
    """Storage refused or failed."""


class ObjectMissingError(StorageError):
    """There is no object or file under that URI."""


class AccessDeniedError(StorageError):
    """Storage refused access to that URI."""


class OutsideAllowedRootsError(StorageError):
    """The URI does not lie below any allowed root."""


class UnsupportedUriError(StorageError):
    """The URI's scheme is neither a local path nor s3://."""


class TooManyBytesError(StorageError):
    """The object is larger than the reader's limit."""


class StorageUnavailableError(StorageError):
    """Storage cannot be reached for now; trying again later is sensible."""


class ItemError(TraceOcrError):
    """One item cannot be read; the job goes on without it.

    Args:
        code: why, from the closed list
        message: what was wrong and what to do, without any credential
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
