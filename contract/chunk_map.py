"""The chunks of a job at a glance: which are done, running, failed and waiting, in a few kilobytes.

Standard library only, since the public client imports it.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

ChunkState = Literal["done", "running", "failed", "waiting", "part"]


class ChunkRun(NamedTuple):
    """Cells in a row that are alike; `worker` is who reads a running one."""

    state: ChunkState
    cells: int
    worker: str | None = None


@dataclass(frozen=True)
class ChunkMap:
    """A job's chunks, of which `cell` each are a cell of the map; `done` counts chunks.

    A cell of several chunks is `failed` or `running` if one of them is, and `part` if only some are done. A
    chunk has failed if its last run ended without a result, and no other has begun.
    """

    total: int
    cell: int
    done: int
    runs: tuple[ChunkRun, ...]
