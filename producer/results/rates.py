"""How fast similar jobs were read, from their summaries."""

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from contract.counting import counted
from contract.errors import TraceOcrError
from contract.job import Job
from contract.kinds import KINDS
from contract.storage import Storage, is_remote, join
from contract.workspace import Workspace, open_workspace
from producer.results.index import JobIndex

MAX_JOBS = 20
"""Jobs whose summaries are looked at, newest first: each is a few kilobytes."""


@dataclass(frozen=True)
class Rate:
    """Items that one device reads in a second.

    Args:
        devices: devices that read at once
        source: where the rate is from, in words
    """

    items_per_second: float
    devices: int
    source: str


def past_rate(job: Job, workspaces: Iterable[Workspace]) -> Rate | None:
    """Return the rate of finished jobs of the same kind with the same parameters, or None if there are none.

    Args:
        workspaces: of any jobs, newest first
    """
    seconds = items = 0.0
    devices, names = 0, []
    for workspace in workspaces:
        found = rate_of(job, _summary_of(workspace))
        if found is None:
            continue
        read, reading, workers = found
        devices = devices or workers
        items, seconds = items + read, seconds + reading * workers
        names.append(workspace.root)
    if not items or not seconds:
        return None
    others = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return Rate(items / seconds, devices, f"{counted(round(items), 'item')} read by {names[0]}{others}")


def rate_of(job: Job, summary: dict[str, Any]) -> tuple[float, float, int] | None:
    """Return (items, seconds of reading, devices) of a summary; None if the job is no similar one."""
    seconds, rate = summary.get("reading_seconds"), summary.get("items_per_second_while_reading")
    if summary.get("kind") != job.kind or not seconds or not rate:
        return None
    given, tuning = summary.get("parameters", {}), KINDS[job.kind].tuning
    wanted = job.parameters.model_dump(mode="json")
    if any(given.get(name) != value for name, value in wanted.items() if name not in tuning):
        return None
    return rate * seconds, seconds, max(1, len(summary.get("workers", ())))


def nearby(workspace: Workspace, index: JobIndex, storage: Storage) -> Iterator[Workspace]:
    """Yield the workspaces in the folder of one, newest first; of remote ones, those that the index knows."""
    folder = workspace.root.rpartition("/")[0] or "/"
    if not is_remote(folder):
        with suppress(OSError), os.scandir(folder) as entries:
            folders = [entry for entry in entries if entry.is_dir(follow_symlinks=False)]
            folders.sort(key=lambda entry: entry.stat(follow_symlinks=False).st_mtime, reverse=True)
            for name in [entry.name for entry in folders[:MAX_JOBS]]:
                yield open_workspace(join(folder, name), storage)
        return
    newest = sorted(index.listed().values(), key=lambda entry: entry.created_at, reverse=True)[:MAX_JOBS]
    for listed in newest:
        with suppress(TraceOcrError):
            found = index.open(listed)
            if found and found.root.startswith(folder + "/"):
                yield found


def _summary_of(workspace: Workspace) -> dict[str, Any]:
    try:
        return workspace.load_summary() or {}
    except TraceOcrError:
        # Another program's, or damaged: it says nothing about a rate.
        return {}
