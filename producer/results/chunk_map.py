"""The map of a job's chunks, from what the ledger or the workspace knows."""

from collections.abc import Collection, Iterable, Iterator
from itertools import groupby

from contract.chunk_map import ChunkMap, ChunkRun, ChunkState
from contract.chunk_set import ChunkSet
from contract.job_status import Running

MAX_CELLS = 500
"""Most cells of a map: about as many as a screen shows, and a few kilobytes."""

BITS = 8
"""A cell of several chunks has a multiple of so many: whole bytes of the set of done ones are counted."""


def chunk_map(total: int, done: ChunkSet, running: Iterable[Running], failed: Collection[int]) -> ChunkMap:
    """Return the map of the chunks 0 to total - 1.

    Args:
        running: the runs that are going on
        failed: chunks that are not done, and whose last run is over
    """
    cell = 1 if total <= MAX_CELLS else BITS * -(-total // (MAX_CELLS * BITS))
    readers = {run.chunk // cell: run.worker for run in running if run.chunk not in done}
    lost = {chunk // cell for chunk in failed}
    cells = list(_cells(total, cell, done, readers, lost))
    runs = tuple(ChunkRun(state, len(list(alike)), worker) for (state, worker), alike in groupby(cells))
    return ChunkMap(total, cell, done.count(0, total), runs)


def _cells(
    total: int, cell: int, done: ChunkSet, readers: dict[int, str], lost: set[int]
) -> Iterator[tuple[ChunkState, str | None]]:
    for number in range(-(-total // cell)):
        first, end = number * cell, min((number + 1) * cell, total)
        count = done.count(first, end)
        if number in lost:
            yield "failed", None
        elif number in readers:
            yield "running", readers[number]
        elif count == end - first:
            yield "done", None
        else:
            yield ("part" if count else "waiting"), None
