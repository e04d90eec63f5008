"""Step 8: merge the parts, in order, into `results.jsonl`, `errors.jsonl`, `summary.json` and `_SUCCESS`."""

import contextlib
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import msgspec

from contract.counting import counted
from contract.errors import JobError
from contract.job import Job, Plan
from contract.records import ChunkStatistics, identity_of
from contract.states import State
from contract.workspace import Workspace, intact
from producer.results.corrected_lines import Corrections
from producer.results.corrections import fold, load, overlay_of
from producer.results.judgement import judged
from producer.results.quality import Quality
from producer.results.sinks import sinks_of
from producer.results.sinks.base import Access, MergedLine, SinkContext
from producer.results.totals import Totals

FIX = "a part was removed or replaced since; submit the source into a new workspace"

READ_AHEAD = 16
"""Parts in memory at once while merging: about 2 MB of lines at the default chunk size."""


def merge(
    job: Job, workspace: Workspace, now: float | None = None, access: Access | None = None
) -> dict[str, Any]:
    """Merge a job whose chunks all have a part; return the summary.

    `access` is what sinks may read besides the workspace: without it, a comparison has no pictures.

    Merging is idempotent: every file replaces its older version as a whole. Corrections that people made so
    far are laid over the results; the quality is that of what was read.

    Raises:
        JobError: the parts do not hold exactly one line per planned item
        ObjectMissingError: a part is missing
    """
    if job.plan is None:
        raise JobError(f"{workspace.root} is not fully planned: submit it again to continue")
    workspace.begin_merge(job.id)
    fold(workspace)
    given = Corrections.of(job.kind, overlay_of(load(workspace)))
    totals, quality = Totals(), Quality(job.kind)
    context = SinkContext(job, workspace, totals, access)
    with contextlib.ExitStack() as stack:
        writes = [stack.enter_context(sink.open(context)) for sink in sinks_of(job)]
        for merged in given.over(final_lines(job, job.plan, workspace, totals, quality)):
            if merged.failure:
                totals.count(merged.failure)
                quality.failed(identity_of(merged.line), merged.failure.code)
            for write in writes:
                write(merged)
        totals.completed = job.plan.items - totals.failed
    summary = _summary(job, job.plan, totals, now if now is not None else time.time())
    if given.overlay:
        summary["corrections"] = {"texts": given.texts, "applied": given.applied}
    summary |= judged(job, workspace, totals, quality, summary, access)
    workspace.store.replace(workspace.summary, msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    workspace.store.replace(workspace.success, b"")
    return summary


def has_every_round(job: Job, workspace: Workspace) -> bool:
    """Return whether a merge included every round of retries.

    A control process that was stopped for long may write the marker again after a round has removed it.
    """
    summary = workspace.load_summary() if job.retries else None
    return summary is None or summary.get("retries") in (None, len(job.retries))


def final_lines(
    job: Job, plan: Plan, workspace: Workspace, totals: Totals, quality: Quality
) -> Iterator[MergedLine]:
    """Yield one line per planned item, in source order: the planned chunks' lines, replaced by each retry's.

    A retry holds the items that failed before it, in the same order, so its lines replace the failed lines
    one by one without a lookup.
    """
    read = _Parts(workspace, job.chunk_size, totals, quality)
    lines = read.lines(0, plan.chunks, plan.items)
    for retry in job.retries:
        retried = read.lines(retry.first_chunk, retry.chunks, retry.items)
        lines = _overlaid(lines, retried)
    return lines


def _overlaid(lines: Iterator[MergedLine], retried: Iterator[MergedLine]) -> Iterator[MergedLine]:
    for merged in lines:
        if merged.failure is None:
            yield merged
            continue
        replacement = next(retried, None)
        if replacement is None or identity_of(replacement.line) != identity_of(merged.line):
            raise JobError(f"a retry does not hold {identity_of(merged.line)!r}, which failed: {FIX}")
        yield replacement
    if next(retried, None) is not None:
        raise JobError(f"a retry holds items that did not fail: {FIX}")


@dataclass(frozen=True)
class _Parts:
    """The parts of one merge; what they hold is added to the totals and to the quality."""

    workspace: Workspace
    chunk_size: int
    totals: Totals
    quality: Quality

    def lines(self, first: int, chunks: int, items: int) -> Iterator[MergedLine]:
        """Yield the lines of consecutive parts; check that each part holds one line per item."""
        for index, (lines, statistics) in enumerate(_parts(self.workspace, first, chunks)):
            uri = self.workspace.part(first + index)
            expected = min(self.chunk_size, items - index * self.chunk_size)
            if len(lines) != expected:
                raise JobError(
                    f"{uri} holds {counted(len(lines), 'line')} for {counted(expected, 'item')}: "
                    "delete that part and submit the job again to read its chunk again"
                )
            if statistics:
                self.totals.add(statistics)
            with intact(uri):
                rated = self.quality.add(lines)
            for line, one in zip(lines, rated, strict=True):
                yield MergedLine(line, one.error, first + index, one.confidence)


def _parts(
    workspace: Workspace, first: int, chunks: int
) -> Iterator[tuple[list[bytes], ChunkStatistics | None]]:
    """Yield each part's lines and statistics in order, READ_AHEAD parts at a time to hide S3's latency."""

    def read(chunk: int) -> tuple[list[bytes], ChunkStatistics | None]:
        return workspace.lines(workspace.part(chunk)), workspace.load_statistics(chunk)

    with ThreadPoolExecutor(READ_AHEAD, thread_name_prefix="merge") as threads:
        for start in range(first, first + chunks, READ_AHEAD):
            yield from threads.map(read, range(start, min(start + READ_AHEAD, first + chunks)))


def _summary(job: Job, plan: Plan, totals: Totals, ended: float) -> dict[str, Any]:
    wall, reading = max(ended - job.created_at, 0.001), totals.reading_seconds
    return {
        "id": job.id,
        "kind": job.kind,
        "status": State.COMPLETED,
        "request_counts": {"total": plan.items, "completed": totals.completed, "failed": totals.failed},
        "error_codes": dict(sorted(totals.error_codes.items())),
        "passed_over": plan.passed_over,
        "retries": len(job.retries),
        "read_in_part": totals.notes,
        "created_at": job.created_at,
        "completed_at": int(ended),
        "wall_seconds": round(wall, 3),
        "items_per_second": round(plan.items / wall, 2),
        # Null if the parts have no times, as those of older workers.
        "reading_seconds": round(reading, 3) if reading else None,
        "items_per_second_while_reading": round(totals.items_timed / reading, 2) if reading else None,
        "stage_seconds": {name: round(value, 3) for name, value in totals.stage_seconds.items()},
        # What the kind's pipeline counts, such as the crops that a cascade passed on to its second model.
        "counts": dict(sorted(totals.counts.items())),
        "batches": totals.batches,
        "batch_fill": round(totals.places_filled / totals.batches, 4) if totals.batches else 0.0,
        # The smallest batch size that a worker fell back to after running out of device memory; else null.
        "fitting_batch_size": min(totals.fitting_batch_sizes, default=None),
        "parameters": job.parameters.model_dump(),
        "models": totals.models,
        "workers": sorted(totals.workers),
    }
