"""The HTTP API from Python: submit jobs, wait for them, read their results; read single crops at once."""

from producer.client.client import Client
from producer.client.errors import (
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
from producer.client.handle import JobHandle

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
