"""The HTTP API from Python: submit jobs, wait for them, read their results; read single crops at once."""

from trace_ocr.client import Client
from trace_ocr.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    JobCancelledError,
    JobFailedError,
    NotFoundError,
    PandasMissingError,
    TooManyRequestsError,
    UnauthorizedError,
    UnreachableError,
    WaitTimeoutError,
)
from trace_ocr.handle import JobHandle

__all__ = [
    "ApiError",
    "Client",
    "ConflictError",
    "ForbiddenError",
    "JobCancelledError",
    "JobFailedError",
    "JobHandle",
    "NotFoundError",
    "PandasMissingError",
    "TooManyRequestsError",
    "UnauthorizedError",
    "UnreachableError",
    "WaitTimeoutError",
]
