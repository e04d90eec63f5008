"""The client: what a program asks of the whole API."""

import mimetypes
import os
import re
import time
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec

from contract.errors import UsageError
from contract.job_status import JOB_ID, JobStatus
from trace_ocr.connection import Connection, Sleep
from trace_ocr.handle import JobHandle

TIMEOUT_SECONDS = 75.0
"""Longer than the minute that a server gives an upload by default, so that its answer is heard."""

PAGE = 100
"""Jobs asked for at once."""

Upload = str | os.PathLike[str] | tuple[str, bytes] | tuple[str, bytes, str]
"""A file to read: its path, or its name and bytes, and its media type where the name does not say it."""


class _Identified(msgspec.Struct):
    id: str


class _JobPage(msgspec.Struct):
    data: list[JobStatus]
    has_more: bool = False
    last_id: str | None = None


class Client:
    """One `trace-ocr api`; close it, or use it as a context manager. Safe to share between threads.

    Args:
        url: where the API is, http:// or https://
        key: from `trace-ocr api-key`; None where the API asks for none
        timeout: seconds without an answer after which a request counts as lost
        transport: another way than the network, for tests
        sleep: how to wait between tries, for tests

    Raises:
        UsageError: the URL or the key cannot be one
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        *,
        transport: httpx.BaseTransport | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self._connection = Connection(url, key, timeout, transport, sleep)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._connection.url!r})"

    def close(self) -> None:
        """Close the connections; handles made by this client end with it."""
        self._connection.close()

    def submit(
        self,
        source: str | os.PathLike[str],
        output: str | os.PathLike[str],
        *,
        job_id: str | None = None,
        urgent: bool = False,
        chunk_size: int | None = None,
        idempotency_key: str | None = None,
        **parameters: object,
    ) -> JobHandle:
        """Have a source planned and read into a workspace; both are places as the server sees them.

        Args:
            job_id: name of a new job, made by the server by default
            urgent: overtake jobs that are not
            chunk_size: items in a chunk, the server's default by default
            idempotency_key: calls with the same key make one job; made for this call by default
            **parameters: of the recognition, such as recognition_model

        Raises:
            ApiError: the API refused or failed
            UnreachableError: there was no answer; the job may be there
        """
        given = {"job_id": job_id, "chunk_size": chunk_size, **parameters}
        body = {"source": os.fspath(source), "output": os.fspath(output), "urgent": urgent}
        body |= {name: value for name, value in given.items() if value is not None}
        headers = {"Idempotency-Key": idempotency_key or uuid.uuid4().hex}
        job = self._connection.call("POST", "jobs", _Identified, json=body, headers=headers)
        return self.job(job.id)

    def job(self, job_id: str) -> JobHandle:
        """Return a handle of a job by its id; whether there is one, its methods will say.

        Raises:
            UsageError: no job can have that id
        """
        if not re.fullmatch(JOB_ID, job_id) or job_id.endswith("\n"):
            raise UsageError(f"{job_id!r} is no job's id; Client.jobs() lists them")
        return JobHandle(self._connection, job_id)

    def jobs(self, status: str | None = None) -> Iterator[JobStatus]:
        """Yield the status of each job, newest first, asking for further pages as they are needed.

        Args:
            status: only jobs of this status
        """
        asked = {"limit": str(PAGE)} | ({"status": status} if status else {})
        while True:
            page = self._connection.call("GET", "jobs", _JobPage, params=asked)
            yield from page.data
            # A page may be empty and yet not the last: the server looks at so many jobs at once.
            if not page.has_more or page.last_id is None:
                return
            asked["after"] = page.last_id

    def recognition(self, files: Iterable[Upload], **parameters: object) -> list[dict[str, Any]]:
        """Return the text of each file, in their order: name, value, confidence.

        Args:
            files: images of one text snippet each
            **parameters: of the recognition, such as recognition_model

        Raises:
            OSError: a file cannot be read
            ApiError: the API refused or failed; 429 is raised after several tries
            UnreachableError: there was no answer
        """
        parts = [("files", _part(file)) for file in files]
        params = {name: value for name, value in parameters.items() if value is not None}
        return self._connection.call("POST", "recognition/", list[dict[str, Any]], files=parts, params=params)


def _part(file: Upload) -> tuple[str, bytes, str]:
    if not isinstance(file, tuple):
        path = Path(file)
        return path.name, path.read_bytes(), _media_type(path.name)
    if len(file) == 3:
        return file
    return file[0], file[1], _media_type(file[0])


def _media_type(name: str) -> str:
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
