"""Stage 8: the parts, in order, to `results.jsonl`, `errors.jsonl`, `summary.json`, then `_SUCCESS`."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import IO, Any

import msgspec

from contract.errors import JobError
from contract.job import Job, Plan
from contract.records import ChunkStatistics, failure_of
from contract.workspace import Workspace


@dataclass
class _Totals:
    completed: int = 0
    failed: int = 0
    error_codes: Counter[str] = field(default_factory=Counter)
    stage_seconds: Counter[str] = field(default_factory=Counter)
    batches: int = 0
    places_filled: float = 0.0
    notes: int = 0
    models: list[dict[str, str]] = field(default_factory=list)
    workers: set[str] = field(default_factory=set)

    def add(self, statistics: ChunkStatistics) -> None:
        self.stage_seconds.update(statistics.stage_seconds)
        self.batches += statistics.batches
        self.places_filled += statistics.batches * statistics.batch_fill
        self.notes += statistics.notes
        self.workers.add(statistics.worker)
        if statistics.model not in self.models:
            self.models.append(statistics.model)


def merge(job: Job, workspace: Workspace, now: float | None = None) -> dict[str, Any]:
    """Merge a job whose chunks all have their part; return the summary.

    Merging again gives the same results: every file is written whole over the older one.

    Raises:
        JobError: the parts do not hold exactly one line per planned item
        ObjectMissingError: a part is not there
    """
    plan = job.plan
    if plan is None:
        raise JobError(f"{workspace.root} is not planned to its end: submit it again to continue")
    totals = _Totals()
    with (
        workspace.store.writer(workspace.results) as results,
        workspace.store.writer(workspace.errors) as errors,
    ):
        for chunk in range(plan.chunks):
            _append_part(job, plan, workspace, chunk, results, errors, totals)
    ended = now if now is not None else time.time()
    summary = _summary(job, plan, totals, ended)
    workspace.store.replace(workspace.summary, msgspec.json.format(msgspec.json.encode(summary)) + b"\n")
    workspace.store.replace(workspace.success, b"")
    return summary


def _append_part(
    job: Job,
    plan: Plan,
    workspace: Workspace,
    chunk: int,
    results: IO[bytes],
    errors: IO[bytes],
    totals: _Totals,
) -> None:
    lines = workspace.lines(workspace.part(chunk))
    expected = min(job.chunk_size, plan.items - chunk * job.chunk_size)
    if len(lines) != expected:
        raise JobError(
            f"{workspace.part(chunk)} holds {len(lines)} lines for {expected} items: "
            "delete that part and submit the job again to read its chunk anew"
        )
    for line in lines:
        failure = failure_of(line)
        if failure is None:
            totals.completed += 1
            results.write(line + b"\n")
        else:
            totals.failed += 1
            totals.error_codes[failure.code.value] += 1
            errors.write(line + b"\n")
    statistics = workspace.load_statistics(chunk)
    if statistics:
        totals.add(statistics)


def _summary(job: Job, plan: Plan, totals: _Totals, ended: float) -> dict[str, Any]:
    wall = max(ended - job.created_at, 0.001)
    return {
        "id": job.id,
        "kind": job.kind,
        "status": "completed",
        "request_counts": {"total": plan.items, "completed": totals.completed, "failed": totals.failed},
        "error_codes": dict(sorted(totals.error_codes.items())),
        "passed_over": plan.passed_over,
        "read_in_part": totals.notes,
        "created_at": job.created_at,
        "completed_at": int(ended),
        "wall_seconds": round(wall, 3),
        "items_per_second": round(plan.items / wall, 2),
        "stage_seconds": {name: round(value, 3) for name, value in totals.stage_seconds.items()},
        "batches": totals.batches,
        "batch_fill": round(totals.places_filled / totals.batches, 4) if totals.batches else 0.0,
        "parameters": job.parameters.model_dump(),
        "models": totals.models,
        "workers": sorted(totals.workers),
    }
