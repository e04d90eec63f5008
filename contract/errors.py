"""All errors, under one root. A message says what is wrong, with which input, and what to do."""

from enum import IntEnum, StrEnum


class ExitCode(IntEnum):
    """Exit statuses of `trace-ocr`, the same for every command."""

    OK = 0
    ITEMS_FAILED = 1
    USAGE = 2
    FAILED = 3
    QUALITY_LOW = 4
    """Every item has its line, but a rule of `fail_if` is broken."""
    INTERRUPTED = 130
    """After Ctrl-C, as in shells: 128 plus SIGINT."""


class ErrorCode(StrEnum):
    """Why one item has no result: all codes that `errors.jsonl` can contain."""

    NOT_FOUND = "not_found"
    NOT_A_FILE = "not_a_file"
    ACCESS_DENIED = "access_denied"
    OUTSIDE_ALLOWED_ROOTS = "outside_allowed_roots"
    UNSUPPORTED_URI = "unsupported_uri"
    ARCHIVED = "archived"
    STORAGE_REFUSED = "storage_refused"
    STORAGE_FAILED = "storage_failed"
    SOURCE_CHANGED = "source_changed"
    DAMAGED_SHARD = "damaged_shard"
    EMPTY_FILE = "empty_file"
    TOO_MANY_BYTES = "too_many_bytes"
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_IMAGE = "unsupported_image"
    TRUNCATED = "truncated"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_SMALL = "too_small"
    EXTREME_ASPECT = "extreme_aspect"
    ENCRYPTED = "encrypted"
    NO_PAGES = "no_pages"
    NO_SUCH_PAGE = "no_such_page"
    DAMAGED_DOCUMENT = "damaged_document"
    DAMAGED_PAGE = "damaged_page"
    BAD_REGION = "bad_region"
    DETECTION_FAILED = "detection_failed"
    EXPORT_FAILED = "export_failed"
    RECOGNITION_FAILED = "recognition_failed"
    WORKER_CRASHED = "worker_crashed"
    TIMED_OUT = "timed_out"
    DEADLINE = "deadline"


class TraceOcrError(Exception):
    """Root of all errors that this product raises on purpose."""

    exit_code = ExitCode.FAILED


class UsageError(TraceOcrError):
    """The request cannot be done as given."""

    exit_code = ExitCode.USAGE


class SettingsError(UsageError):
    """A flag, a TRACE_OCR_ variable or the settings file holds a value that is not allowed."""


class WorkspaceConflictError(UsageError):
    """The workspace belongs to a job with other parameters."""


class IdTakenError(WorkspaceConflictError):
    """A job with the id lives in another workspace.

    Args:
        job: the id
        workspace: where it lives
    """

    def __init__(self, job: str, workspace: str) -> None:
        super().__init__(
            f"a job named {job} already lives in {workspace}: choose another id, or continue that job"
        )
        self.job = job


class JobStateError(UsageError):
    """The job's state does not allow the action."""


class TruthError(UsageError):
    """A file with correct texts cannot be used: its form, its encoding, or what it says."""


class UnknownModelError(UsageError):
    """A parameter names neither an architecture nor a model of the model store."""

    def __init__(self, message: str, parameter: str) -> None:
        super().__init__(message)
        self.parameter = parameter


class UnknownJobError(UsageError):
    """Neither the ledger nor storage knows the job or workspace."""


class SourceError(TraceOcrError):
    """The source cannot be listed: it is missing, empty, or a malformed manifest."""


class JobError(TraceOcrError):
    """The job itself cannot run; running it again unchanged would fail the same way."""


class ModelUnavailableError(JobError):
    """No weights are available for the architecture, or they failed verification."""


class BrokerError(TraceOcrError):
    """Redis is missing, too old, or cannot be started."""


class UnfitWorkerError(TraceOcrError):
    """This worker process cannot run any chunk: its device or installation is broken, not the job."""


class WorkerLostError(TraceOcrError):
    """The worker processes ended and do not stay up."""


class InterruptedChunkError(TraceOcrError):
    """The worker is shutting down: its running chunk goes back to the queue."""


class InterruptedRunError(TraceOcrError):
    """The user stopped the run; finished parts are kept."""


class JobHaltedError(TraceOcrError):
    """The job was paused, cancelled or removed while it was planned."""


class MessageError(TraceOcrError):
    """A queue message is malformed, too large, or names something that is not allowed."""


class ChildCrashedError(TraceOcrError):
    """A request crashed child processes, or made them return invalid answers."""


class ChildTimedOutError(TraceOcrError):
    """A child process did not answer in time."""


class StorageError(TraceOcrError):
    """Storage refused a request or failed."""


class AddressRefusedError(TraceOcrError):
    """A host has an address that requests may not go to."""


class ObjectMissingError(StorageError):
    """There is no object or file at the URI."""


class NotAFileError(ObjectMissingError):
    """Something else than a regular file is at the URI, or than a folder on its path."""


class AccessDeniedError(StorageError):
    """Storage denied access to the URI."""


class CredentialsError(AccessDeniedError):
    """Storage does not accept this process's credentials, whatever the object."""


class StorageRefusedError(StorageError):
    """Storage refuses this object, and would at every try."""


class ReadOnlyStorageError(StorageRefusedError, UsageError):
    """The storage can only be read."""


class ArchivedError(StorageRefusedError):
    """The object is in an archive, from which it must be restored first."""


class OutsideAllowedRootsError(StorageError):
    """The URI is not below any allowed root."""


class UnsupportedUriError(StorageError):
    """The URI's scheme is that of no storage, or its name is impossible."""


class ExtraMissingError(UnsupportedUriError, UsageError):
    """The storage of the URI's scheme needs an extra that is not installed."""


class TooManyBytesError(StorageError):
    """The object is larger than the reader's limit."""


class StorageUnavailableError(StorageError):
    """Storage cannot be reached for now; try again later."""


class StorageBusyError(StorageUnavailableError):
    """Storage asks for fewer requests; which object they are for does not matter."""


class FileUnavailableError(StorageUnavailableError):
    """Storage fails on one file and answers otherwise; its chunk is read again, a bounded number of times."""


class UnsupportedImageError(TraceOcrError):
    """A sound image is of a kind that is not supported; the message names the kind."""


class ItemError(TraceOcrError):
    """One item cannot be read; the job continues without it.

    Args:
        code: why the item failed
        message: what is wrong and what to do; never contains a credential
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
