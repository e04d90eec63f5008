"""The client for asyncio: the same methods, to be awaited."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

import httpx

from contract.estimate import Estimate
from contract.job_filter import Group
from contract.job_status import JobStatus
from contract.system_status import SystemStatus, WorkerList
from trace_ocr import jobs, watching
from trace_ocr.async_job_handle import AsyncJobHandle
from trace_ocr.connection import AsyncConnection, AsyncSleep
from trace_ocr.exchange import TIMEOUT_SECONDS, Api
from trace_ocr.results import CompareResult, DetectionResult, KieResult, OcrResult, RecognitionResult
from trace_ocr.uploads import Regions, Upload, read_files, uploaded

T = TypeVar("T")


class AsyncClient:
    """`Client` for asyncio: arguments and errors are the same; close it, or use it with `async with`.

    `job` is a plain method; `jobs`, and `results` and `errors` of a handle, are for `async for`; all others
    are awaited.
    """

    def __init__(
        self,
        url: str,
        key: str | None = None,
        timeout: float = TIMEOUT_SECONDS,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: AsyncSleep = asyncio.sleep,
    ) -> None:
        self._connection = AsyncConnection(Api(url, key), timeout, transport, sleep)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncClient({self._connection.api.shown_url!r})"

    async def aclose(self) -> None:
        """Close the connections; handles made by this client end with it."""
        await self._connection.aclose()

    async def recognition(
        self, files: Iterable[Upload], *, regions: Regions | None = None, **parameters: object
    ) -> list[RecognitionResult]:
        """Return the text of each file or region; see `Client.recognition`."""
        return await self.upload("recognition", files, RecognitionResult, regions, **parameters)

    async def ocr(self, files: Iterable[Upload], **parameters: object) -> list[OcrResult]:
        """Return the text of each page; see `Client.ocr`."""
        return await self.upload("ocr", files, OcrResult, **parameters)

    async def detection(self, files: Iterable[Upload], **parameters: object) -> list[DetectionResult]:
        """Return the boxes of each page's words; see `Client.detection`."""
        return await self.upload("detection", files, DetectionResult, **parameters)

    async def kie(self, files: Iterable[Upload], **parameters: object) -> list[KieResult]:
        """Return the words of each page by class; see `Client.kie`."""
        return await self.upload("kie", files, KieResult, **parameters)

    async def compare(
        self, files: Iterable[Upload], *, regions: Regions | None = None, **parameters: object
    ) -> list[CompareResult]:
        """Return what several models read; see `Client.compare`."""
        return await self.upload("compare", files, CompareResult, regions, **parameters)

    async def upload(
        self,
        kind: str,
        files: Iterable[Upload],
        result: type[T],
        regions: Regions | None = None,
        /,
        **parameters: object,
    ) -> list[T]:
        """Return a result per image, page or region, of any kind the server has; see `Client.upload`."""
        parts = await asyncio.to_thread(read_files, files)
        return await self._connection.run(uploaded, kind, parts, regions, parameters, result)

    async def submit(
        self,
        source: jobs.Place | Iterable[jobs.Place],
        output: jobs.Place,
        *,
        kind: str | None = None,
        exports: Iterable[str] | None = None,
        results: Iterable[str] | None = None,
        job_id: str | None = None,
        urgent: bool = False,
        chunk_size: int | None = None,
        tags: Iterable[str] | None = None,
        metadata: Mapping[str, str] | None = None,
        regions: str | None = None,
        level: str | None = None,
        categories: Iterable[str] | None = None,
        idempotency_key: str | None = None,
        **parameters: object,
    ) -> AsyncJobHandle:
        """Have a source planned and read into a workspace; see `Client.submit`."""
        given = {
            "kind": kind, "exports": exports, "results": results, "job_id": job_id, "urgent": urgent,
            "chunk_size": chunk_size, "tags": tags, "metadata": metadata,
            "regions": regions, "level": level, "categories": categories, **parameters,
        }  # fmt: skip
        made = await self._connection.run(jobs.submitted, source, output, given, idempotency_key)
        return self.job(made)

    async def dry_run(
        self,
        source: jobs.Place | Iterable[jobs.Place],
        output: jobs.Place,
        *,
        regions: str | None = None,
        level: str | None = None,
        categories: Iterable[str] | None = None,
        **parameters: object,
    ) -> Estimate:
        """Return what `submit` would read, and how long it takes; see `Client.dry_run`."""
        given = {"regions": regions, "level": level, "categories": categories, **parameters}
        return await self._connection.run(jobs.estimated, source, output, given)

    def job(self, job_id: str) -> AsyncJobHandle:
        """Return a handle of a job by its id; see `Client.job`."""
        return AsyncJobHandle(self._connection, jobs.checked_id(job_id))

    def jobs(
        self,
        status: str | None = None,
        kind: str | None = None,
        *,
        tags: Iterable[str] = (),
        created_from: datetime | None = None,
        created_before: datetime | None = None,
        tenant: str | None = None,
        q: str | None = None,
        state: Group | None = None,
    ) -> AsyncIterator[JobStatus]:
        """Yield the status of each job, newest first; see `Client.jobs`."""
        times = {"created_from": created_from, "created_before": created_before}
        wanted = {"status": status, "kind": kind, "tag": tags, "tenant": tenant, "q": q, "state": state}
        return self._connection.pages(jobs.listing, {**wanted, **times})

    async def system(self) -> SystemStatus:
        """Return queues, workers, the rate, and what is wrong now in words."""
        return await self._connection.run(watching.system)

    async def workers(self) -> WorkerList:
        """Return the live processes: of each worker its device, its chunk, its pace, and if it is slow."""
        return await self._connection.run(watching.workers)
