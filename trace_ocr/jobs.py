"""What is asked of the API about jobs, as flows; and what becomes of the answers."""

import importlib
import os
import re
import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, cast

import msgspec

from contract.errors import UsageError
from contract.estimate import Estimate
from contract.job_status import JOB_ID, JobStatus
from contract.states import Action, State
from trace_ocr.errors import JobCancelledError, JobFailedError, PandasMissingError, WaitTimeoutError
from trace_ocr.exchange import Api, Flow, Pause, Request
from trace_ocr.listing import Listing

LOOK_SECONDS = 1.0
"""Seconds between two looks at a job that is waited for."""

PAGE = 100
"""Jobs asked for at once."""

RESULT_COLUMNS = ("id", "name", "value", "confidence")
"""Columns of an empty table of results."""

WORDS = ("categories", "exports", "results", "tags")
"""Fields of a request that are lists of words."""

Place = str | os.PathLike[str]
"""A source or a workspace as the server sees it."""

ShowStatus = Callable[[JobStatus], None]


class _Identified(msgspec.Struct):
    id: str


class _JobPage(msgspec.Struct):
    data: list[JobStatus]
    has_more: bool = False
    last_id: str | None = None


def checked_id(job_id: str) -> str:
    """Return the id; raises UsageError if no job can have it."""
    if not re.fullmatch(JOB_ID, job_id) or job_id.endswith("\n"):
        raise UsageError(f"{job_id!r} is no job's id; Client.jobs() lists them")
    return job_id


def submitted(
    api: Api,
    source: Place | Iterable[Place],
    output: Place,
    given: Mapping[str, object],
    idempotency_key: str | None,
) -> Flow[str]:
    """Submit a job and return its id.

    Args:
        given: further fields of the request; those that are None are left to the server
    """
    # One key for all tries: those that repeat a request that arrived make no second job.
    headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
    asked = {"json": _body(source, output, given), "headers": headers}
    job = yield from api.call(Request("POST", "jobs", asked), _Identified)
    return checked_id(job.id)


def estimated(
    api: Api, source: Place | Iterable[Place], output: Place, given: Mapping[str, object]
) -> Flow[Estimate]:
    """Return what a job would be; arguments as for `submitted`."""
    asked = {"json": _body(source, output, given), "params": {"dry_run": "true"}}
    return api.call(Request("POST", "jobs", asked), Estimate)


def _body(source: Place | Iterable[Place], output: Place, given: Mapping[str, object]) -> dict[str, object]:
    fields = {name: _field(name, value) for name, value in given.items() if value is not None}
    return {"source": named(source), "output": os.fspath(output), **fields}


def _field(name: str, value: Any) -> object:
    """Return a field as the request has it: of words, one is a list too."""
    if name in WORDS:
        return [value] if isinstance(value, str) else list(value)
    return dict(value) if name == "metadata" else value


def named(source: Place | Iterable[Place]) -> str | list[str]:
    """Return one source, or several, as the request has them."""
    if isinstance(source, str | os.PathLike):
        return os.fspath(source)
    return [os.fspath(one) for one in source]


def status(api: Api, job_id: str) -> Flow[JobStatus]:
    """Return what a job is doing now."""
    return api.call(Request("GET", f"jobs/{job_id}"), JobStatus)


def summary(api: Api, job_id: str) -> Flow[dict[str, Any]]:
    """Return the summary of a complete job."""
    return api.call(Request("GET", f"jobs/{job_id}/summary"), dict[str, Any])


def steered(api: Api, job_id: str, action: Action) -> Flow[JobStatus]:
    """Ask for an action; return the job's status after it."""
    return api.call(Request("POST", f"jobs/{job_id}/{action}", idempotent=False), JobStatus)


def completed(api: Api, job_id: str, timeout: float | None, show: ShowStatus) -> Flow[JobStatus]:
    """Wait until a job is complete; return its last status.

    Raises:
        JobFailedError: it failed
        JobCancelledError: it was cancelled
        WaitTimeoutError: it has not ended in `timeout` seconds
    """
    last = yield from _ended(api, job_id, timeout, show)
    if last.status is State.FAILED:
        raise JobFailedError(last)
    if last.status is State.CANCELLED:
        raise JobCancelledError(last)
    return last


def _ended(api: Api, job_id: str, timeout: float | None, show: ShowStatus) -> Flow[JobStatus]:
    end = None if timeout is None else time.monotonic() + timeout
    while True:
        now = yield from status(api, job_id)
        show(now)
        if now.ended:
            return now
        left = LOOK_SECONDS if end is None else end - time.monotonic()
        if left <= 0:
            raise WaitTimeoutError(
                f"job {job_id} is {now.status} after {timeout:g} s and goes on; wait for it again"
            )
        yield Pause(min(left, LOOK_SECONDS))


def listing(api: Api, wanted: Mapping[str, object]) -> Listing[JobStatus]:
    """Return jobs, newest first; conditions that are None are left out."""
    asked = {name: _asked(value) for name, value in wanted.items() if value is not None}

    def following(page: _JobPage) -> dict[str, str]:
        return {"after": page.last_id} if page.has_more and page.last_id is not None else {}

    return Listing(api, "jobs", {"limit": str(PAGE), **asked}, _JobPage, following)


def _asked(value: object) -> str | list[str]:
    """Return a condition of a listing as the query has it."""
    if isinstance(value, datetime):
        # Without a zone it is of this machine, as everywhere in Python.
        return value.astimezone(UTC).isoformat()
    return value if isinstance(value, str) else [str(one) for one in cast("Iterable[object]", value)]


def pandas_module() -> Any:
    """Return pandas; raises PandasMissingError if it is not installed."""
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise PandasMissingError("to_pandas needs pandas: pip install pandas") from error


def table(pandas: Any, rows: list[dict[str, Any]]) -> Any:
    """Return results as a pandas.DataFrame, a row per line and a column per field."""
    return pandas.DataFrame(rows, columns=None if rows else list(RESULT_COLUMNS))
