"""Step 2: write items as numbered chunks in the workspace. Planning again continues an interrupted plan."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, islice

from contract.errors import SourceError, TraceOcrError, WorkspaceConflictError
from contract.job import Job, Plan
from contract.lines import encode_lines
from contract.records import MAX_CHUNKS, Item
from contract.workspace import MAX_CHUNK_BYTES, Workspace
from producer.sources.base import SHARD, Listing

WRITERS = 8
"""Chunks written concurrently and held in memory: a megabyte or two at the default chunk size."""

OnChunk = Callable[[int, int, bool], None]


def write_plan(
    job: Job, workspace: Workspace, listing: Listing, on_chunk: OnChunk
) -> Generator[None, None, Plan]:
    """Write the source's items as chunks and announce each one once it is durable; return the totals.

    Yields after each chunk, so that plans can take turns.

    Several chunks are written concurrently and announced in order, because latency dominates on disk and on
    S3. The first chunk is announced before the second is written, so that workers can start. If the source
    fails, the items it yielded before the failure are written first.

    A chunk written by an earlier, interrupted plan is kept if it holds the same items.

    Args:
        on_chunk: called with the chunk's number, the items planned so far, and whether this call wrote it

    Raises:
        SourceError: the source cannot be listed, or is empty although nobody has chosen its items
        WorkspaceConflictError: the source has changed since the earlier plan began
    """
    number = items = 0
    for length, written in _written(chunks_of(listing, job.chunk_size), workspace):
        number, items = number + 1, items + length
        on_chunk(number - 1, items, written)
        yield
    if not items and not job.source.chosen:
        raise _nothing_in(job, listing)
    if workspace.store.exists(workspace.chunk(number)):
        # Another submission may have planned the job since, and a round of retries may have added the chunk.
        current = workspace.load_job()
        if current is None or current.plan is None or current.plan.chunks != number:
            raise _changed(number)
    return Plan(chunks=number, items=items, passed_over=dict(listing.passed_over))


def _nothing_in(job: Job, listing: Listing) -> SourceError:
    """Return the error of a source without items."""
    words = [f"the source {job.source.uri} holds no images"]
    if job.source.regions:
        words.append(f" of which {job.source.regions.uri} describes regions")
    if listing.passed_over:
        seen = ", ".join(f"{count} {reason}" for reason, count in sorted(listing.passed_over.items()))
        words.append(f" (passed over: {seen})")
    if SHARD in listing.passed_over:
        words.append(": to read the images in its shards, name these, as in '*.tar' after its name")
    return SourceError("".join(words))


def _written(chunks: Iterator[list[Item]], workspace: Workspace) -> Iterator[tuple[int, bool]]:
    """Write numbered chunks; yield, in order, each one's item count and whether this call wrote it."""
    pending: deque[tuple[int, Future[bool]]] = deque()
    failure: TraceOcrError | None = None
    with ThreadPoolExecutor(WRITERS, thread_name_prefix="plan") as threads:
        for number in count():
            try:
                chunk = next(chunks, [])
            except TraceOcrError as error:
                failure, chunk = error, []
            if not chunk:
                break
            if number == MAX_CHUNKS:
                raise SourceError(f"more than {MAX_CHUNKS:,} chunks: use a larger --chunk-size")
            pending.append((len(chunk), threads.submit(write_chunk, workspace, number, chunk)))
            while pending and (pending[0][1].done() or len(pending) > (WRITERS if number else 0)):
                items, future = pending.popleft()
                yield items, future.result()
        yield from ((items, future.result()) for items, future in pending)
    if failure:
        raise failure


def chunks_of(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items, in order; the last list may be shorter."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def write_chunk(workspace: Workspace, number: int, items: list[Item]) -> bool:
    """Write one chunk's items unless the chunk exists; return whether this call wrote it.

    Raises:
        WorkspaceConflictError: the chunk exists with other items
    """
    data = encode_lines(items)
    uri = workspace.chunk(number)
    if workspace.store.create(uri, data):
        return True
    if workspace.store.read(uri, MAX_CHUNK_BYTES) != data:
        raise _changed(number)
    return False


def _changed(chunk: int) -> WorkspaceConflictError:
    return WorkspaceConflictError(
        f"the source has changed since this job was planned (chunk {chunk} differs): "
        "use a new workspace for the new contents"
    )
