"""The HTTP API from Python: read files at once; submit jobs, wait for them, fetch their results.

`Client` blocks, `AsyncClient` is for asyncio; both need httpx and msgspec alone. Every error is a
TraceOcrError.
"""

from contract.chunk_map import ChunkMap, ChunkRun
from contract.errors import TraceOcrError, UsageError
from contract.estimate import Estimate
from contract.job_status import FailedItem, JobStatus
from contract.lines import (
    CompareLine,
    DetectionLine,
    ErrorLine,
    KieLine,
    ModelReading,
    OcrLine,
    RecognitionLine,
)
from contract.review import ItemFailure, ReviewItem, ReviewWord
from contract.states import State
from contract.system_status import Alert, ProcessStatus, SystemStatus, WorkerList
from trace_ocr.async_client import AsyncClient
from trace_ocr.async_job_handle import AsyncJobHandle
from trace_ocr.client import Client
from trace_ocr.errors import (
    ApiError,
    ConflictError,
    ForbiddenError,
    JobCancelledError,
    JobFailedError,
    NotFoundError,
    PandasMissingError,
    PyarrowMissingError,
    RefusedError,
    TooManyRequestsError,
    UnauthorizedError,
    UnavailableError,
    UnexpectedAnswerError,
    UnreachableError,
    WaitTimeoutError,
)
from trace_ocr.job_handle import JobHandle
from trace_ocr.results import CompareResult, DetectionResult, KieResult, OcrResult, RecognitionResult
from trace_ocr.uploads import Regions, Upload

__all__ = [
    "Alert",
    "ApiError",
    "AsyncClient",
    "AsyncJobHandle",
    "ChunkMap",
    "ChunkRun",
    "Client",
    "CompareLine",
    "CompareResult",
    "ConflictError",
    "DetectionLine",
    "DetectionResult",
    "ErrorLine",
    "Estimate",
    "FailedItem",
    "ForbiddenError",
    "ItemFailure",
    "JobCancelledError",
    "JobFailedError",
    "JobHandle",
    "JobStatus",
    "KieLine",
    "KieResult",
    "ModelReading",
    "NotFoundError",
    "OcrLine",
    "OcrResult",
    "PandasMissingError",
    "ProcessStatus",
    "PyarrowMissingError",
    "RecognitionLine",
    "RecognitionResult",
    "RefusedError",
    "Regions",
    "ReviewItem",
    "ReviewWord",
    "State",
    "SystemStatus",
    "TooManyRequestsError",
    "TraceOcrError",
    "UnauthorizedError",
    "UnavailableError",
    "UnexpectedAnswerError",
    "UnreachableError",
    "Upload",
    "UsageError",
    "WaitTimeoutError",
    "WorkerList",
]
