"""The error answers of routes, for the API's documentation."""

from typing import Any

from pydantic import BaseModel

REASONS = {
    400: "The request cannot be carried out as it is",
    401: "No valid key",
    403: "The key lacks the scope, or the path is outside the allowed roots",
    404: "Not found",
    406: "In none of the accepted media types",
    409: "Not in this state of the job or its workspace",
    413: "Too large: the files of an upload may have TRACE_OCR_API_MAX_BYTES, every other body 64 KiB",
    415: "In a format that browsers do not show",
    416: "No such range",
    429: "Too many uploads wait already: see Retry-After",
    503: "Redis, storage or the workers are unavailable: see Retry-After",
    504: "No worker answered in time: see Retry-After",
}


class Problem(BaseModel):
    """Why a request was refused, and what to do."""

    detail: str


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the error answers of a route, for FastAPI's `responses`."""
    # Spelled out instead of `model`, to which FastAPI would give the route's own media type.
    content = {"application/json": {"schema": Problem.model_json_schema()}}
    return {status: {"description": REASONS[status], "content": content} for status in sorted(statuses)}
