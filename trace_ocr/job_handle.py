"""One job, as the blocking client has it."""

from collections.abc import Iterator
from typing import Any, TypeVar, overload

from contract.chunk_map import ChunkMap
from contract.job_status import FailedItem, JobStatus
from contract.review import Order, ReviewItem
from contract.states import Action
from trace_ocr import jobs, review, watching
from trace_ocr.columns import Arrow, parquet_files
from trace_ocr.connection import Connection
from trace_ocr.errors import PyarrowMissingError
from trace_ocr.progress import progress_shown

T = TypeVar("T")


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
        return self._connection.run(jobs.status, self.id)

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
            return self._connection.run(jobs.completed, self.id, timeout, show)

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
        return self._connection.lines(f"jobs/{self.id}/results", line)

    @overload
    def errors(self) -> Iterator[dict[str, Any]]: ...

    @overload
    def errors(self, line: type[T]) -> Iterator[T]: ...

    def errors(self, line: type[Any] = dict[str, Any]) -> Iterator[Any]:
        """Yield the failed items of a complete job in the same way; their type is ErrorLine."""
        return self._connection.lines(f"jobs/{self.id}/errors", line)

    @overload
    def review(self) -> Iterator[dict[str, Any]]: ...

    @overload
    def review(self, line: type[T]) -> Iterator[T]: ...

    def review(self, line: type[Any] = dict[str, Any]) -> Iterator[Any]:
        """Yield the readings in doubt of a complete job; NotFoundError if it has no checks of readings."""
        return self._connection.lines(f"jobs/{self.id}/review", line)

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
        return self._connection.pages(review.items, self.id, wanted)

    def item(self, found: ReviewItem) -> ReviewItem:
        """Return an item as it is now, with the words of its page."""
        return self._connection.run(review.item, self.id, found)

    def correct(self, found: ReviewItem, value: str, word: int | None = None) -> ReviewItem:
        """Correct an item's text, or that of a `word` of its page; return the item after it.

        The same text as before confirms it. ConflictError if somebody else has corrected it since `found`
        was asked for. The results have it after `apply_corrections`.
        """
        return self._connection.run(review.correct, self.id, found, value, word)

    def apply_corrections(self) -> JobStatus:
        """Have the job merged again, so that its results have the corrections; then `wait` for it."""
        return self._connection.run(review.applied, self.id)

    def chunks(self) -> ChunkMap:
        """Return which of the job's chunks are done, running, failed and waiting."""
        return self._connection.run(watching.chunks, self.id)

    def failures(self, code: str | None = None) -> Iterator[FailedItem]:
        """Yield the failed items, also while the job runs; those of one `code`, such as truncated, if given.

        Their texts are cut short; `errors` yields them in full once the job is complete.
        """
        return self._connection.pages(watching.failures, self.id, code)

    def summary(self) -> dict[str, Any]:
        """Return the summary of a complete job: counts, times, models, quality; ConflictError before."""
        return self._connection.run(jobs.summary, self.id)

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
        files = self._connection.run(parquet_files, self.id)
        return None if files is None else arrow.of_files(files)

    def cancel(self) -> JobStatus:
        """End the job after its running chunks; what is read stays."""
        return self._connection.run(jobs.steered, self.id, Action.CANCEL)

    def pause(self) -> JobStatus:
        """Stop the job after its running chunks until it is resumed."""
        return self._connection.run(jobs.steered, self.id, Action.PAUSE)

    def resume(self) -> JobStatus:
        """Continue a paused, cancelled or failed job."""
        return self._connection.run(jobs.steered, self.id, Action.RESUME)

    def retry_errors(self) -> JobStatus:
        """Read a complete job's failed items again; its results are merged again."""
        return self._connection.run(jobs.steered, self.id, Action.RETRY_ERRORS)
