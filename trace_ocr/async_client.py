"""The client for asyncio: the same methods, to be awaited."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Mapping
from datetime import datetime
from types import TracebackType
from typing import Any, Self, TypeVar, overload

import httpx

from contract.chunk_map import ChunkMap
from contract.estimate import Estimate
from contract.job_status import FailedItem, Group, JobStatus
from contract.review import Order, ReviewItem
from contract.states import Action
from contract.system_status import SystemStatus, WorkerList
from trace_ocr import jobs, review, watching
from trace_ocr.columns import Arrow, parquet_files
from trace_ocr.connection import AsyncConnection, AsyncSleep
from trace_ocr.errors import PyarrowMissingError
from trace_ocr.exchange import TIMEOUT_SECONDS, Api
from trace_ocr.lines import LineFile
from trace_ocr.progress import progress_shown
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
        self._api = Api(url, key)
        self._connection = AsyncConnection(self._api, timeout, transport, sleep)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    def __repr__(self) -> str:
        return f"AsyncClient({self._api.shown_url!r})"

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
        return await self._connection.run(uploaded(self._api, kind, parts, regions, parameters, result))

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
    ) -> "AsyncJobHandle":
        """Have a source planned and read into a workspace; see `Client.submit`."""
        given = {"kind": kind, "job_id": job_id, "urgent": urgent, "chunk_size": chunk_size, **parameters}
        given |= jobs.words(tags, metadata)
        given |= jobs.regions_asked(regions, level, categories)
        formats = {"exports": exports, "results": results}
        flow = jobs.submitted(self._api, source, output, given, formats, idempotency_key)
        return self.job(await self._connection.run(flow))

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
        given = {**parameters, **jobs.regions_asked(regions, level, categories)}
        return await self._connection.run(jobs.estimated(self._api, source, output, given))

    def job(self, job_id: str) -> "AsyncJobHandle":
        """Return a handle of a job by its id; see `Client.job`."""
        return AsyncJobHandle(self._connection, jobs.checked_id(job_id))

    async def jobs(
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
        listing = jobs.Listing(self._api, {**wanted, **times})
        while listing.more:
            for found in await self._connection.run(listing.page()):
                yield found

    async def system(self) -> SystemStatus:
        """Return queues, workers, the rate, and what is wrong now in words."""
        return await self._connection.run(watching.system(self._api))

    async def workers(self) -> WorkerList:
        """Return the live processes: of each worker its device, its chunk, its pace, and if it is slow."""
        return await self._connection.run(watching.workers(self._api))


class AsyncJobHandle:
    """A job by its id, as JobHandle; nothing is asked of the API until a method is awaited."""

    def __init__(self, connection: AsyncConnection, identity: str) -> None:
        self._connection = connection
        self.id = identity

    def __repr__(self) -> str:
        return f"AsyncJobHandle({self.id!r})"

    async def status(self) -> JobStatus:
        """Return what the job is doing now."""
        return await self._connection.run(jobs.status(self._connection.api, self.id))

    async def wait(self, timeout: float | None = None, progress: bool = True) -> JobStatus:
        """Wait until the job is complete and return its last status; see `JobHandle.wait`."""
        with progress_shown(progress) as show:
            return await self._connection.run(jobs.completed(self._connection.api, self.id, timeout, show))

    @overload
    def results(self) -> AsyncIterator[dict[str, Any]]: ...

    @overload
    def results(self, line: type[T]) -> AsyncIterator[T]: ...

    def results(self, line: type[Any] = dict[str, Any]) -> AsyncIterator[Any]:
        """Yield the results of a complete job in source order; see `JobHandle.results`.

        Leaving the loop early keeps a connection until the event loop collects the iterator;
        `contextlib.aclosing` frees it at once.
        """
        return self._lines("results", line)

    @overload
    def errors(self) -> AsyncIterator[dict[str, Any]]: ...

    @overload
    def errors(self, line: type[T]) -> AsyncIterator[T]: ...

    def errors(self, line: type[Any] = dict[str, Any]) -> AsyncIterator[Any]:
        """Yield the failed items of a complete job in the same way; their type is ErrorLine."""
        return self._lines("errors", line)

    @overload
    def review(self) -> AsyncIterator[dict[str, Any]]: ...

    @overload
    def review(self, line: type[T]) -> AsyncIterator[T]: ...

    def review(self, line: type[Any] = dict[str, Any]) -> AsyncIterator[Any]:
        """Yield the readings in doubt of a complete job; see `JobHandle.review`."""
        return self._lines("review", line)

    async def items(
        self,
        *,
        order: Order | None = None,
        below: float | None = None,
        at_least: float | None = None,
        q: str | None = None,
        prefix: str | None = None,
        code: str | None = None,
    ) -> AsyncIterator[ReviewItem]:
        """Yield single results of a complete job, the least certain first; see `JobHandle.items`."""
        wanted = {"order": order, "below": below, "at_least": at_least, "q": q, "id": prefix, "code": code}
        listing = review.ItemListing(self._connection.api, self.id, wanted)
        while listing.more:
            for found in await self._connection.run(listing.page()):
                yield found

    async def item(self, found: ReviewItem) -> ReviewItem:
        """Return an item as it is now, with the words of its page."""
        return await self._connection.run(review.item(self._connection.api, self.id, found))

    async def correct(self, found: ReviewItem, value: str, word: int | None = None) -> ReviewItem:
        """Correct an item's text, or that of a `word`; see `JobHandle.correct`."""
        return await self._connection.run(review.correct(self._connection.api, self.id, found, value, word))

    async def apply_corrections(self) -> JobStatus:
        """Have the job merged again, so that its results have the corrections; then `wait` for it."""
        return await self._connection.run(review.applied(self._connection.api, self.id))

    async def chunks(self) -> ChunkMap:
        """Return which of the job's chunks are done, running, failed and waiting."""
        return await self._connection.run(watching.chunks(self._connection.api, self.id))

    async def failures(self, code: str | None = None) -> AsyncIterator[FailedItem]:
        """Yield the failed items, also while the job runs; see `JobHandle.failures`."""
        listing = watching.FailureListing(self._connection.api, self.id, code)
        while listing.more:
            for found in await self._connection.run(listing.page()):
                yield found

    async def summary(self) -> dict[str, Any]:
        """Return the summary of a complete job; see `JobHandle.summary`."""
        return await self._connection.run(jobs.summary(self._connection.api, self.id))

    async def to_arrow(self) -> Any:
        """Return the results as a pyarrow.Table; see `JobHandle.to_arrow`."""
        arrow = Arrow()
        found = await self._columns(arrow)
        return arrow.of_lines([line async for line in self.results()]) if found is None else found

    async def to_pandas(self) -> Any:
        """Return the results as a pandas.DataFrame; see `JobHandle.to_pandas`."""
        pandas = jobs.pandas_module()
        try:
            found = await self._columns(Arrow())
        except PyarrowMissingError:
            found = None
        if found is None:
            return jobs.table(pandas, [line async for line in self.results()])
        return await asyncio.to_thread(found.to_pandas)

    async def _columns(self, arrow: Arrow) -> Any:
        """Return the results from Parquet; None if the job wrote none."""
        found = await asyncio.to_thread(arrow.on_disk, await self.status())
        if found is not None:
            return found
        files = await self._connection.run(parquet_files(self._connection.api, self.id))
        return None if files is None else await asyncio.to_thread(arrow.of_files, files)

    async def cancel(self) -> JobStatus:
        """End the job after its running chunks; what is read stays."""
        return await self._steer(Action.CANCEL)

    async def pause(self) -> JobStatus:
        """Stop the job after its running chunks until it is resumed."""
        return await self._steer(Action.PAUSE)

    async def resume(self) -> JobStatus:
        """Continue a paused, cancelled or failed job."""
        return await self._steer(Action.RESUME)

    async def retry_errors(self) -> JobStatus:
        """Read a complete job's failed items again; its results are merged again."""
        return await self._steer(Action.RETRY_ERRORS)

    async def _steer(self, action: Action) -> JobStatus:
        return await self._connection.run(jobs.steered(self._connection.api, self.id, action))

    def _lines(self, name: str, type_: type[T]) -> AsyncIterator[T]:
        return self._connection.lines(LineFile(self._connection.api, f"jobs/{self.id}/{name}", type_))
