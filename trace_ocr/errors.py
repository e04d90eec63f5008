"""What can go wrong between a program and the HTTP API."""

from contract.errors import TraceOcrError, UsageError
from contract.job_status import JobStatus


class ApiError(TraceOcrError):
    """The API refused or failed.

    Args:
        status: of HTTP
        detail: the server's own words
        retry_after: seconds that the server asks to wait, where it does
    """

    advice = "the server's log says more"

    def __init__(self, status: int, detail: str, retry_after: float | None = None) -> None:
        super().__init__(f"{detail.rstrip('.')} (HTTP {status}); {self.advice}")
        self.status = status
        self.detail = detail
        self.retry_after = retry_after


class RefusedError(ApiError):
    """The request is not allowed as it is: 400, 413, 415 or 422, or a status of no known meaning."""

    advice = "the same request will be refused again"


class UnauthorizedError(ApiError):
    """401: no key, or one that the server does not know."""

    advice = "give Client(key=...) a key made by `trace-ocr api-key`"


class ForbiddenError(ApiError):
    """403: the key lacks the scope, or the place is not one that the server, or the key, may touch."""

    advice = "the key needs the scope, and the path must be one that server and key may use"


class NotFoundError(ApiError):
    """404: no such job, or no such route."""

    advice = "check the id, and that the URL is the API's"


class ConflictError(ApiError):
    """409: the job is not in a state for that, or the name is taken."""

    advice = "look at the job's status first"


class TooManyRequestsError(ApiError):
    """429: too much waits already."""

    advice = "send less at once, or start more workers"


class UnavailableError(ApiError):
    """502, 503 or 504: Redis, storage or a worker is missing, or too slow."""

    advice = "the API's /health says what is missing"


class UnexpectedAnswerError(ApiError):
    """The answer is not one that this API gives."""

    advice = "check that the URL is the API's, and that client and server are of one version"


class UnreachableError(TraceOcrError):
    """No connection to the API, or none that held."""


class JobFailedError(TraceOcrError):
    """The job ended as failed; `status` holds its last status."""

    def __init__(self, status: JobStatus) -> None:
        super().__init__(f"job {status.id} failed: {status.error or 'see the log of control'}")
        self.status = status


class JobCancelledError(TraceOcrError):
    """The job was cancelled; `status` holds its last status."""

    def __init__(self, status: JobStatus) -> None:
        super().__init__(f"job {status.id} was cancelled; submit it again into its workspace to continue it")
        self.status = status


class WaitTimeoutError(TraceOcrError):
    """The job did not end in the time given; it goes on."""


class PandasMissingError(UsageError):
    """pandas is not installed."""


class PyarrowMissingError(UsageError):
    """pyarrow is not installed."""


BY_STATUS: dict[int, type[ApiError]] = {
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    409: ConflictError,
    429: TooManyRequestsError,
    502: UnavailableError,
    503: UnavailableError,
    504: UnavailableError,
}


def api_error(status: int, detail: str, retry_after: float | None = None) -> ApiError:
    """Return the error that a status stands for."""
    return BY_STATUS.get(status, ApiError if status >= 500 else RefusedError)(status, detail, retry_after)
