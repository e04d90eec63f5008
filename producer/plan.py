"""Stage 2: items to numbered chunks in the workspace. Continuing a plan is planning it again."""

from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from contract.errors import SourceError, WorkspaceConflictError
from contract.job import Job, Plan
from contract.records import Item, encode_lines
from contract.workspace import MAX_CHUNK_BYTES, Workspace
from producer.sources import Listing

MAX_CHUNKS = 1_000_000
"""Chunks of one job: their numbers have six digits, so that names sort in order."""


OnChunk = Callable[[int, int, bool], None]


def write_plan(job: Job, workspace: Workspace, listing: Listing, on_chunk: OnChunk) -> Plan:
    """Write the source's items as chunks, each announced as soon as it is durable; return the totals.

    A chunk that an earlier, interrupted plan wrote stays, if it holds the same items.

    Args:
        on_chunk: called with the chunk's number, the items planned so far, and whether this plan wrote it

    Raises:
        SourceError: the source is empty or cannot be listed
        WorkspaceConflictError: the source has changed since the earlier plan began
    """
    number = items = 0
    for number, chunk in enumerate(chunks_of(listing, job.chunk_size), start=1):
        if number > MAX_CHUNKS:
            raise SourceError(f"more than {MAX_CHUNKS:,} chunks: use a larger --chunk-size")
        written = write_chunk(workspace, number - 1, chunk)
        items += len(chunk)
        on_chunk(number - 1, items, written)
    if not items:
        seen = ", ".join(f"{count} {reason}" for reason, count in sorted(listing.passed_over.items()))
        raise SourceError(
            f"the source {job.source.uri} holds no images" + (f" (passed over: {seen})" if seen else "")
        )
    if workspace.store.exists(workspace.chunk(number)):
        raise _changed(number)
    return Plan(chunks=number, items=items, passed_over=dict(listing.passed_over))


def chunks_of(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items, in order; the last one may be shorter."""
    source = iter(items)
    while chunk := list(islice(source, size)):
        yield chunk


def write_chunk(workspace: Workspace, number: int, items: list[Item]) -> bool:
    """Write one chunk's items, once; return whether this call did.

    Raises:
        WorkspaceConflictError: other items are there already
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
