"""Step 7: write the lines of one chunk to its part, once; a second writer changes nothing."""

import time
from collections.abc import Sequence

import msgspec

from contract.lines import ErrorLine, Line, encode_lines
from contract.records import ChunkStatistics
from contract.workspace import Workspace
from worker.pipeline.run import Pipeline, Timings


def write_part(workspace: Workspace, chunk: int, lines: Sequence[Line], statistics: ChunkStatistics) -> bool:
    """Make a chunk's lines durable; return whether this call wrote the part.

    The statistics are written first, since the part marks the chunk as done. Once the part exists, the time
    to write it is added to them.
    """
    store, uri = workspace.store, workspace.statistics(chunk)
    store.create(uri, msgspec.json.encode(statistics))
    started = time.perf_counter()
    written = store.create(workspace.part(chunk), encode_lines(lines))
    if written:
        seconds = {**statistics.stage_seconds, "write": time.perf_counter() - started}
        whole = msgspec.structs.replace(statistics, stage_seconds=seconds, ended_at=time.time())
        store.replace(uri, msgspec.json.encode(whole))
    return written


def summarise(
    lines: Sequence[Line], timings: Timings, wall_seconds: float, pipeline: Pipeline, worker: str
) -> ChunkStatistics:
    """Return a chunk's statistics; `batch_fill` is samples read over places in the batches, 0..1."""
    failed = sum(isinstance(line, ErrorLine) for line in lines)
    places = timings.batches * pipeline.batch_size
    return ChunkStatistics(
        completed=len(lines) - failed,
        failed=failed,
        wall_seconds=wall_seconds,
        stage_seconds=timings.seconds,
        batches=timings.batches,
        batch_fill=timings.pieces / places if places else 0.0,
        models=pipeline.models,
        worker=worker,
        fitting_batch_size=timings.fitting_batch_size,
        counts=timings.counts,
        begun_at=timings.begun_at,
        ended_at=time.time(),
        notes=sum(not isinstance(line, ErrorLine) and line.note is not None for line in lines),
    )
