"""Step 7: write the lines of one chunk to its part, once; a second writer changes nothing."""

import time
from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from contract.lines import ErrorLine, Line, encode_lines
from contract.records import ChunkStatistics, PartOutcome, part_outcome
from contract.storage import is_remote
from contract.workspace import Workspace
from worker.pipeline.run import Pipeline, Timings


class Written(NamedTuple):
    """What a run has written of its chunk."""

    outcome: PartOutcome
    statistics: ChunkStatistics


def write_part(
    workspace: Workspace, chunk: int, lines: Sequence[Line], statistics: ChunkStatistics
) -> Written | None:
    """Make a chunk's lines durable; return what was written, or None if another run has written the part.

    The statistics are written first, since the part marks the chunk as done. Once the part exists, the time
    to write it is added to them where that costs nothing: on remote storage it is a third request for each
    chunk, and the ledger and the metrics know the time anyway.
    """
    store, uri = workspace.store, workspace.statistics(chunk)
    ours = store.create(uri, msgspec.json.encode(statistics))
    started = time.perf_counter()
    data = encode_lines(lines)
    if not store.create(workspace.part(chunk), data):
        return None
    seconds = {**statistics.stage_seconds, "write": time.perf_counter() - started}
    whole = msgspec.structs.replace(statistics, stage_seconds=seconds, ended_at=time.time())
    if not (ours and is_remote(uri)):
        store.replace(uri, msgspec.json.encode(whole))
    return Written(part_outcome(data.split(b"\n")[:-1]), whole)


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
