"""The blocking client: read files at once, submit jobs, follow them, fetch what they read."""

import time
from collections.abc import Iterable, Iterator, Mapping
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
from trace_ocr.connection import Connection, Sleep
from trace_ocr.errors import PyarrowMissingError
from trace_ocr.exchange import TIMEOUT_SECONDS, Api
from trace_ocr.lines import LineFile
from trace_ocr.progress import progress_shown
from trace_ocr.results import CompareResult, DetectionResult, KieResult, OcrResult, RecognitionResult
from trace_ocr.uploads import Regions, Upload, read_files, uploaded

T = TypeVar("T")


class Client:
    """One `trace-ocr api`; close it, or use it as a context manager. Safe to share between threads.

    Every method but `job` raises ApiError if the API refuses or fails, and UnreachableError if it does not
    answer; both only after several tries if trying again may help.

    Args:
        url: where the API is, http:// or https://
        key: from `trace-ocr api-key`; None if the API asks for none
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
        self._api = Api(url, key)
        self._connection = Connection(self._api, timeout, transport, sleep)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._api.shown_url!r})"

    def close(self) -> None:
        """Close the connections; handles made by this client end with it."""
        self._connection.close()

    def recognition(
        self, files: Iterable[Upload], *, regions: Regions | None = None, **parameters: object
    ) -> list[RecognitionResult]:
        """Return the text of each file, an image of one text snippet, or of each region, in their order.

        Args:
            files: paths; or names and bytes, and media types if the names do not say them
            regions: the parts of each image that are read, in the order of the files, or by file name
            **parameters: of the Trace OCR API, such as recognition_model; the server's defaults by default

        Raises:
            OSError: a file cannot be read
        """
        return self.upload("recognition", files, RecognitionResult, regions, **parameters)

    def ocr(self, files: Iterable[Upload], **parameters: object) -> list[OcrResult]:
        """Return the text of each page of the files, in their order; arguments as for `recognition`."""
        return self.upload("ocr", files, OcrResult, **parameters)

    def detection(self, files: Iterable[Upload], **parameters: object) -> list[DetectionResult]:
        """Return the boxes of each page's words; arguments as for `recognition`."""
        return self.upload("detection", files, DetectionResult, **parameters)

    def kie(self, files: Iterable[Upload], **parameters: object) -> list[KieResult]:
        """Return the words of each page by class; arguments as for `recognition`."""
        return self.upload("kie", files, KieResult, **parameters)

    def compare(
        self, files: Iterable[Upload], *, regions: Regions | None = None, **parameters: object
    ) -> list[CompareResult]:
        """Return what several models read, named by `models="a,b"`; arguments as for `recognition`."""
        return self.upload("compare", files, CompareResult, regions, **parameters)

    def upload(
        self,
        kind: str,
        files: Iterable[Upload],
        result: type[T],
        regions: Regions | None = None,
        /,
        **parameters: object,
    ) -> list[T]:
        """Return a result per image, page or region, of any kind the server has; the rest as `recognition`.

        Args:
            kind: for the kinds above their methods are shorter
            result: what each result is decoded to; dict for one that this client has no type for
        """
        return self._connection.run(uploaded(self._api, kind, read_files(files), regions, parameters, result))

    def submit(
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
    ) -> "JobHandle":
        """Have a source planned and read into a workspace; both are places as the server sees them.

        Args:
            source: one, or several whose items are read in their order
            kind: recognition, ocr, detection or kie; recognition by default
            exports: of ocr jobs, what is written for each document: txt, hocr, pdf, alto, page
            results: formats of results and errors besides JSONL: parquet, and csv of crops
            job_id: name of a new job, made by the server by default
            urgent: overtake jobs that are not
            chunk_size: items in a chunk, the server's default by default
            tags: words that `jobs` can select by
            metadata: what is stored and shown with the job
            regions: FORMAT:PATH of the files that describe regions of the source's pages; each is an item
            level: region, line or word, if the format nests regions
            categories: names of the categories of regions to read, all by default
            idempotency_key: calls with the same key make one job; made for this call by default
            **parameters: of the Trace OCR API, such as recognition_model; and what else `POST /jobs` takes,
                such as include and exclude (lists of globs), limit, sample, deadline
        """
        given = {"kind": kind, "job_id": job_id, "urgent": urgent, "chunk_size": chunk_size, **parameters}
        given |= jobs.words(tags, metadata)
        given |= jobs.regions_asked(regions, level, categories)
        formats = {"exports": exports, "results": results}
        flow = jobs.submitted(self._api, source, output, given, formats, idempotency_key)
        return self.job(self._connection.run(flow))

    def dry_run(
        self,
        source: jobs.Place | Iterable[jobs.Place],
        output: jobs.Place,
        *,
        regions: str | None = None,
        level: str | None = None,
        categories: Iterable[str] | None = None,
        **parameters: object,
    ) -> Estimate:
        """Return what `submit` with these arguments would read, and how long it takes; nothing is written.

        Args:
            **parameters: kind, chunk_size, deadline and what else `submit` takes
        """
        given = {**parameters, **jobs.regions_asked(regions, level, categories)}
        return self._connection.run(jobs.estimated(self._api, source, output, given))

    def job(self, job_id: str) -> "JobHandle":
        """Return a handle of a job by its id; its methods raise NotFoundError if there is none.

        Raises:
            UsageError: no job can have that id
        """
        return JobHandle(self._connection, jobs.checked_id(job_id))

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
    ) -> Iterator[JobStatus]:
        """Yield the status of each job, newest first, asking for further pages as they are needed.

        Args:
            status: only jobs of this status
            kind: only jobs of this kind
            tags: only jobs that have all of these
            created_from, created_before: only jobs that were created then or later, or before; local time if
                they have no zone
            tenant: only jobs of this tenant
            q: only jobs with each of these words in their id, source, tags or metadata
            state: only those that somebody should look at, that have not ended, or that have ended
        """
        times = {"created_from": created_from, "created_before": created_before}
        wanted = {"status": status, "kind": kind, "tag": tags, "tenant": tenant, "q": q, "state": state}
        listing = jobs.Listing(self._api, {**wanted, **times})
        while listing.more:
            yield from self._connection.run(listing.page())

    def system(self) -> SystemStatus:
        """Return queues, workers, the rate, and what is wrong now in words."""
        return self._connection.run(watching.system(self._api))

    def workers(self) -> WorkerList:
        """Return the live processes: of each worker its device, its chunk, its pace, and if it is slow."""
        return self._connection.run(watching.workers(self._api))


class JobHandle:
    """A job by its id; nothing is asked of the API until a method is called.

    Every method raises ApiError if the API refuses or fails, and UnreachableError if it does not answer.
    """

    def __init__(self, connection: Connection, identity: str) -> None:
        self._connection = connection
        self.id = identity

    def __repr__(self) -> str:
        return f"JobHandle({self.id!r})"

    def status(self) -> JobStatus:
        """Return what the job is doing now."""
        return self._connection.run(jobs.status(self._connection.api, self.id))

    def wait(self, timeout: float | None = None, progress: bool = True) -> JobStatus:
        """Wait until the job is complete and return its last status; a paused job is waited for.

        Args:
            timeout: seconds, None for as long as it takes
            progress: show it on standard error, if that is a terminal: a bar if rich is installed

        Raises:
            JobFailedError: it failed
            JobCancelledError: it was cancelled
            WaitTimeoutError: it has not ended in time
        """
        with progress_shown(progress) as show:
            return self._connection.run(jobs.completed(self._connection.api, self.id, timeout, show))

    @overload
    def results(self) -> Iterator[dict[str, Any]]: ...

    @overload
    def results(self, line: type[T]) -> Iterator[T]: ...

    def results(self, line: type[Any] = dict[str, Any]) -> Iterator[Any]:
        """Yield the results of a complete job in source order, as they arrive over the network.

        Args:
            line: what each line is decoded to: dicts by default, or the line of the job's kind, such as
                RecognitionLine or OcrLine, or any type that msgspec decodes
        """
        return self._lines("results", line)

    @overload
    def errors(self) -> Iterator[dict[str, Any]]: ...

    @overload
    def errors(self, line: type[T]) -> Iterator[T]: ...

    def errors(self, line: type[Any] = dict[str, Any]) -> Iterator[Any]:
        """Yield the failed items of a complete job in the same way; their type is ErrorLine."""
        return self._lines("errors", line)

    @overload
    def review(self) -> Iterator[dict[str, Any]]: ...

    @overload
    def review(self, line: type[T]) -> Iterator[T]: ...

    def review(self, line: type[Any] = dict[str, Any]) -> Iterator[Any]:
        """Yield the readings in doubt of a complete job; NotFoundError if it has no checks of readings."""
        return self._lines("review", line)

    def items(
        self,
        *,
        order: Order | None = None,
        below: float | None = None,
        at_least: float | None = None,
        q: str | None = None,
        prefix: str | None = None,
        code: str | None = None,
    ) -> Iterator[ReviewItem]:
        """Yield single results of a complete job, the least certain first, asking for pages as needed.

        Args:
            order: "source" for the order of the source, as every search has it
            below, at_least: bounds of the confidence
            q: what the text contains
            prefix: what the id begins with
            code: failed items with this error code, or `any`
        """
        wanted = {"order": order, "below": below, "at_least": at_least, "q": q, "id": prefix, "code": code}
        listing = review.ItemListing(self._connection.api, self.id, wanted)
        while listing.more:
            yield from self._connection.run(listing.page())

    def item(self, found: ReviewItem) -> ReviewItem:
        """Return an item as it is now, with the words of its page."""
        return self._connection.run(review.item(self._connection.api, self.id, found))

    def correct(self, found: ReviewItem, value: str, word: int | None = None) -> ReviewItem:
        """Correct an item's text, or that of a `word` of its page; return the item after it.

        The same text as before confirms it. ConflictError if somebody else has corrected it since `found`
        was asked for. The results have it after `apply_corrections`.
        """
        return self._connection.run(review.correct(self._connection.api, self.id, found, value, word))

    def apply_corrections(self) -> JobStatus:
        """Have the job merged again, so that its results have the corrections; then `wait` for it."""
        return self._connection.run(review.applied(self._connection.api, self.id))

    def chunks(self) -> ChunkMap:
        """Return which of the job's chunks are done, running, failed and waiting."""
        return self._connection.run(watching.chunks(self._connection.api, self.id))

    def failures(self, code: str | None = None) -> Iterator[FailedItem]:
        """Yield the failed items, also while the job runs; those of one `code`, such as truncated, if given.

        Their texts are cut short; `errors` yields them in full once the job is complete.
        """
        listing = watching.FailureListing(self._connection.api, self.id, code)
        while listing.more:
            yield from self._connection.run(listing.page())

    def summary(self) -> dict[str, Any]:
        """Return the summary of a complete job: counts, times, models, quality; ConflictError before."""
        return self._connection.run(jobs.summary(self._connection.api, self.id))

    def to_arrow(self) -> Any:
        """Return the results as a pyarrow.Table, all in memory: a row per line, a column per field.

        They are read from the job's Parquet, from its folder if this machine has that too; a job without
        Parquet is read line by line.

        Raises:
            PyarrowMissingError: pyarrow is not installed
        """
        arrow = Arrow()
        found = self._columns(arrow)
        return arrow.of_lines(list(self.results())) if found is None else found

    def to_pandas(self) -> Any:
        """Return the results as a pandas.DataFrame: from Parquet as `to_arrow`, else line by line.

        Raises:
            PandasMissingError: pandas is not installed
        """
        pandas = jobs.pandas_module()
        try:
            found = self._columns(Arrow())
        except PyarrowMissingError:
            found = None
        return jobs.table(pandas, list(self.results())) if found is None else found.to_pandas()

    def _columns(self, arrow: Arrow) -> Any:
        """Return the results from Parquet; None if the job wrote none."""
        found = arrow.on_disk(self.status())
        if found is not None:
            return found
        files = self._connection.run(parquet_files(self._connection.api, self.id))
        return None if files is None else arrow.of_files(files)

    def cancel(self) -> JobStatus:
        """End the job after its running chunks; what is read stays."""
        return self._steer(Action.CANCEL)

    def pause(self) -> JobStatus:
        """Stop the job after its running chunks until it is resumed."""
        return self._steer(Action.PAUSE)

    def resume(self) -> JobStatus:
        """Continue a paused, cancelled or failed job."""
        return self._steer(Action.RESUME)

    def retry_errors(self) -> JobStatus:
        """Read a complete job's failed items again; its results are merged again."""
        return self._steer(Action.RETRY_ERRORS)

    def _steer(self, action: Action) -> JobStatus:
        return self._connection.run(jobs.steered(self._connection.api, self.id, action))

    def _lines(self, name: str, type_: type[T]) -> Iterator[T]:
        return self._connection.lines(LineFile(self._connection.api, f"jobs/{self.id}/{name}", type_))
