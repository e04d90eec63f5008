"""The blocking client: read files at once, submit jobs, follow them, fetch what they read."""

import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from types import TracebackType
from typing import Self, TypeVar

import httpx

from contract.estimate import Estimate
from contract.job_filter import Group
from contract.job_status import JobStatus
from contract.system_status import SystemStatus, WorkerList
from trace_ocr import jobs, watching
from trace_ocr.connection import Connection, Sleep
from trace_ocr.exchange import TIMEOUT_SECONDS, Api
from trace_ocr.job_handle import JobHandle
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
        self._connection = Connection(Api(url, key), timeout, transport, sleep)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self._connection.api.shown_url!r})"

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
        return self._connection.run(uploaded, kind, read_files(files), regions, parameters, result)

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
    ) -> JobHandle:
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
        given = {
            "kind": kind, "exports": exports, "results": results, "job_id": job_id, "urgent": urgent,
            "chunk_size": chunk_size, "tags": tags, "metadata": metadata,
            "regions": regions, "level": level, "categories": categories, **parameters,
        }  # fmt: skip
        made = self._connection.run(jobs.submitted, source, output, given, idempotency_key)
        return self.job(made)

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
        given = {"regions": regions, "level": level, "categories": categories, **parameters}
        return self._connection.run(jobs.estimated, source, output, given)

    def job(self, job_id: str) -> JobHandle:
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
        return self._connection.pages(jobs.listing, {**wanted, **times})

    def system(self) -> SystemStatus:
        """Return queues, workers, the rate, and what is wrong now in words."""
        return self._connection.run(watching.system)

    def workers(self) -> WorkerList:
        """Return the live processes: of each worker its device, its chunk, its pace, and if it is slow."""
        return self._connection.run(watching.workers)
