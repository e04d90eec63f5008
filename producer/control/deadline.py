"""The end of a job at its deadline: what was not read becomes errors, and the job is merged.

The part that is written first stays, here as everywhere: a worker that is still reading a chunk finds its
part written, and marks that.
"""

from concurrent.futures import ThreadPoolExecutor

import msgspec
import structlog

from contract.chunk_set import ChunkSet
from contract.errors import ErrorCode
from contract.job import Job
from contract.lines import ErrorLine, Failure, encode_lines
from contract.records import Item
from contract.workspace import COUNTERS, Workspace

UNREAD = Failure(ErrorCode.DEADLINE, "it was not read before the job's deadline: retry-errors reads it")


def ends_now(job: Job, now: float) -> bool:
    """Return whether a job ends now with what was read. One that is still being planned ends once its plan
    does.

    Args:
        now: Unix seconds
    """
    if job.at_deadline != "partial" or job.deadline is None or job.plan is None:
        return False
    return now >= job.deadline


def end_at_deadline(job: Job, workspace: Workspace, now: float) -> int:
    """Write a part of errors for each chunk that has none, if the job ends now; return how many it wrote.

    Repeating the call writes the same.

    Args:
        now: Unix seconds
    """
    missing = ChunkSet.below(job.chunks) - workspace.part_numbers() if ends_now(job, now) else ()
    if not missing:
        return 0

    def end(chunk: int) -> bool:
        lines = [_unread(item) for item in workspace.items(chunk)]
        return workspace.store.create(workspace.part(chunk), encode_lines(lines))

    with ThreadPoolExecutor(COUNTERS, thread_name_prefix="deadline") as threads:
        written = sum(threads.map(end, missing))
    structlog.get_logger().warning("job_ended_at_deadline", job=job.id, unread_chunks=written)
    return written


def _unread(item: Item) -> ErrorLine:
    metadata = None if item.metadata is None else msgspec.json.decode(item.metadata)
    return ErrorLine(item.id, item.address, UNREAD, 0, metadata)
