"""Stage 7: the lines of one chunk to its part, written once; whoever comes second changes nothing."""

from collections.abc import Sequence

import msgspec

from contract.records import ChunkStatistics, ErrorLine, Line, RecognitionLine, encode_line
from contract.workspace import Workspace
from worker.process import Timings


def write_part(workspace: Workspace, chunk: int, lines: Sequence[Line], statistics: ChunkStatistics) -> bool:
    """Make a chunk's lines durable; return whether this call's lines are the ones that stay.

    The statistics go first: a part is what says that a chunk is done.
    """
    workspace.store.create(workspace.statistics(chunk), msgspec.json.encode(statistics))
    return workspace.store.create(workspace.part(chunk), b"".join(map(encode_line, lines)))


def summarise(
    lines: Sequence[Line],
    timings: Timings,
    wall_seconds: float,
    batch_size: int,
    model: dict[str, str],
    worker: str,
) -> ChunkStatistics:
    """Return what a chunk cost; `batch_fill` is pieces read over places in the batches, 0..1."""
    failed = sum(isinstance(line, ErrorLine) for line in lines)
    places = timings.batches * batch_size
    return ChunkStatistics(
        completed=len(lines) - failed,
        failed=failed,
        wall_seconds=wall_seconds,
        stage_seconds=timings.seconds,
        batches=timings.batches,
        batch_fill=timings.pieces / places if places else 0.0,
        model=model,
        worker=worker,
        notes=sum(isinstance(line, RecognitionLine) and line.note is not None for line in lines),
    )
