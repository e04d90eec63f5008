"""One job, as the client for asyncio has it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any, TypeVar, overload

from contract.chunk_map import ChunkMap
from contract.job_status import FailedItem, JobStatus
from contract.review import Order, ReviewItem
from contract.states import Action
from trace_ocr import jobs, review, watching
from trace_ocr.columns import Arrow, parquet_files
from trace_ocr.connection import AsyncConnection
from trace_ocr.errors import PyarrowMissingError
from trace_ocr.progress import progress_shown

T = TypeVar("T")


class AsyncJobHandle:
    """A job by its id, as JobHandle; nothing is asked of the API until a method is awaited."""

    def __init__(self, connection: AsyncConnection, identity: str) -> None:
        self._connection = connection
        self.id = identity

    def __repr__(self) -> str:
        return f"AsyncJobHandle({self.id!r})"

    async def status(self) -> JobStatus:
        """Return what the job is doing now."""
        return await self._connection.run(jobs.status, self.id)

    async def wait(self, timeout: float | None = None, progress: bool = True) -> JobStatus:
        """Wait until the job is complete and return its last status; see `JobHandle.wait`."""
        with progress_shown(progress) as show:
            return await self._connection.run(jobs.completed, self.id, timeout, show)

    @overload
    def results(self) -> AsyncIterator[dict[str, Any]]: ...

    @overload
    def results(self, line: type[T]) -> AsyncIterator[T]: ...

    def results(self, line: type[Any] = dict[str, Any]) -> AsyncIterator[Any]:
        """Yield the results of a complete job in source order; see `JobHandle.results`.

        Leaving the loop early keeps a connection until the event loop collects the iterator;
        `contextlib.aclosing` frees it at once.
        """
        return self._connection.lines(f"jobs/{self.id}/results", line)

    @overload
    def errors(self) -> AsyncIterator[dict[str, Any]]: ...

    @overload
    def errors(self, line: type[T]) -> AsyncIterator[T]: ...

    def errors(self, line: type[Any] = dict[str, Any]) -> AsyncIterator[Any]:
        """Yield the failed items of a complete job in the same way; their type is ErrorLine."""
        return self._connection.lines(f"jobs/{self.id}/errors", line)

    @overload
    def review(self) -> AsyncIterator[dict[str, Any]]: ...

    @overload
    def review(self, line: type[T]) -> AsyncIterator[T]: ...

    def review(self, line: type[Any] = dict[str, Any]) -> AsyncIterator[Any]:
        """Yield the readings in doubt of a complete job; see `JobHandle.review`."""
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
    ) -> AsyncIterator[ReviewItem]:
        """Yield single results of a complete job, the least certain first; see `JobHandle.items`."""
        wanted = {"order": order, "below": below, "at_least": at_least, "q": q, "id": prefix, "code": code}
        return self._connection.pages(review.items, self.id, wanted)

    async def item(self, found: ReviewItem) -> ReviewItem:
        """Return an item as it is now, with the words of its page."""
        return await self._connection.run(review.item, self.id, found)

    async def correct(self, found: ReviewItem, value: str, word: int | None = None) -> ReviewItem:
        """Correct an item's text, or that of a `word`; see `JobHandle.correct`."""
        return await self._connection.run(review.correct, self.id, found, value, word)

    async def apply_corrections(self) -> JobStatus:
        """Have the job merged again, so that its results have the corrections; then `wait` for it."""
        return await self._connection.run(review.applied, self.id)

    async def chunks(self) -> ChunkMap:
        """Return which of the job's chunks are done, running, failed and waiting."""
        return await self._connection.run(watching.chunks, self.id)

    def failures(self, code: str | None = None) -> AsyncIterator[FailedItem]:
        """Yield the failed items, also while the job runs; see `JobHandle.failures`."""
        return self._connection.pages(watching.failures, self.id, code)

    async def summary(self) -> dict[str, Any]:
        """Return the summary of a complete job; see `JobHandle.summary`."""
        return await self._connection.run(jobs.summary, self.id)

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
        files = await self._connection.run(parquet_files, self.id)
        return None if files is None else await asyncio.to_thread(arrow.of_files, files)

    async def cancel(self) -> JobStatus:
        """End the job after its running chunks; what is read stays."""
        return await self._connection.run(jobs.steered, self.id, Action.CANCEL)

    async def pause(self) -> JobStatus:
        """Stop the job after its running chunks until it is resumed."""
        return await self._connection.run(jobs.steered, self.id, Action.PAUSE)

    async def resume(self) -> JobStatus:
        """Continue a paused, cancelled or failed job."""
        return await self._connection.run(jobs.steered, self.id, Action.RESUME)

    async def retry_errors(self) -> JobStatus:
        """Read a complete job's failed items again; its results are merged again."""
        return await self._connection.run(jobs.steered, self.id, Action.RETRY_ERRORS)
