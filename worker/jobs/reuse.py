"""Lines that an earlier job has read of the same content with the same models: taken over, not read again."""

from collections.abc import Sequence
from typing import cast

import msgspec
import structlog

from contract.job import Job
from contract.kinds import KINDS
from contract.lines import UNREADABLE, Line, ResultLine
from contract.records import Item
from worker.pipeline.run import ChunkRun, Pipeline

COUNT = "reused"
"""The name of the count of such lines in statistics and summaries."""


def read_or_reused(job: Job, items: Sequence[Item], pipeline: Pipeline, run: ChunkRun) -> list[Line]:
    """Return a line for each item, in order: the earlier one, or else what the pipeline reads.

    Each repeats the metadata of its item.
    """
    lines = _read_or_reused(job, items, pipeline, run)
    return [
        line if item.metadata is None else _with_metadata(line, item)
        for item, line in zip(items, lines, strict=True)
    ]


def _with_metadata(line: Line, item: Item) -> Line:
    # As it is in the chunk: lines are only encoded from here on.
    return cast(Line, msgspec.structs.replace(cast(msgspec.Struct, line), metadata=item.metadata))


def _read_or_reused(job: Job, items: Sequence[Item], pipeline: Pipeline, run: ChunkRun) -> list[Line]:
    earlier = _earlier(job, items, pipeline)
    if not any(earlier):
        return list(pipeline.run(items, run))
    run.timings.count(COUNT, sum(line is not None for line in earlier))
    rest = [item for item, line in zip(items, earlier, strict=True) if line is None]
    read = iter(pipeline.run(rest, run) if rest else ())
    return [next(read) if line is None else line for line in earlier]


def _earlier(job: Job, items: Sequence[Item], pipeline: Pipeline) -> list[Line | None]:
    nothing: list[Line | None] = [None] * len(items)
    if job.reuse is None:
        return nothing
    if not job.reuse.read_by(pipeline.models):
        structlog.get_logger().warning("lines_not_reused", job=job.id, reason="its models are others")
        return nothing
    decoder = msgspec.json.Decoder(KINDS[job.kind].line)
    return [_decoded(item, decoder) for item in items]


def _decoded(item: Item, decoder: "msgspec.json.Decoder[msgspec.Struct]") -> Line | None:
    if item.reused is None:
        return None
    try:
        return cast(ResultLine, decoder.decode(item.reused))
    except UNREADABLE:
        # A line of another version: reading the item is always right.
        return None
