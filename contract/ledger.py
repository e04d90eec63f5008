"""The ledger's Python side: one method per transition of `ledger.lua`, and the reads of a job's progress."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import resources
from typing import TYPE_CHECKING, Any, cast

from contract.errors import WorkspaceConflictError

if TYPE_CHECKING:
    from redis import Redis

UNKNOWN = "unknown"
"""What `begin` answers for a job that Redis does not have."""

ENDED_STATUSES = frozenset({"completed", "failed", "cancelled"})


@dataclass(frozen=True, slots=True)
class Running:
    """One chunk in a worker's hands: how many of its items are read, and when it last said so."""

    chunk: int
    items: int
    seen_at: float
    worker: str


@dataclass(frozen=True, slots=True)
class Progress:
    """What the ledger knows of one job; counts in items unless they say chunks, times in Unix seconds."""

    job: str
    workspace: str
    status: str
    created_at: float
    kind: str = "recognition"
    source: str = ""
    chunks_planned: int = 0
    items_planned: int = 0
    chunks_total: int | None = None
    items_total: int | None = None
    chunks_done: int = 0
    completed: int = 0
    failed: int = 0
    updated_at: float = 0.0
    error: str = ""
    timestamps: dict[str, float] = field(default_factory=dict)
    running: tuple[Running, ...] = ()
    items_per_second: float | None = None


@dataclass(frozen=True, slots=True)
class Begin:
    """The ledger's answer to a worker that takes up a chunk.

    `attempt` counts from 1; 0 says the chunk is done, -1 that the job does not run now or, with the status
    `unknown`, that Redis has lost it.
    """

    status: str
    attempt: int


class Ledger:
    """Progress of jobs in one Redis database; every write is one idempotent Lua call.

    Args:
        redis: a client with decode_responses=True
        namespace: the settings' namespace; every key starts with it
        clock: Unix seconds
    """

    def __init__(self, redis: "Redis", namespace: str, clock: Callable[[], float] = time.time) -> None:
        self._redis = redis
        self._prefix = namespace + ":"
        self._clock = clock
        self._script = redis.register_script(
            resources.files("contract").joinpath("ledger.lua").read_text(encoding="utf-8")
        )

    def open(self, job: str, workspace: str, kind: str, source: str, created_at: int) -> None:
        """Register a job, or take up an ended one again.

        Raises:
            WorkspaceConflictError: another workspace's job goes by this id
        """
        ours, known = self._run("open", job, workspace, kind, source, created_at)
        if not ours:
            raise WorkspaceConflictError(
                f"a job named {job} already lives in {known}: choose another --job-id, or continue that one"
            )

    def planned(self, job: str, chunks: int, items: int) -> None:
        """Note how much is planned so far."""
        self._run("planned", job, chunks, items)

    def plan_done(self, job: str, chunks: int, items: int) -> bool:
        """Note the plan's totals; return whether this very call completed the job."""
        return bool(self._run("plan_done", job, chunks, items))

    def begin(self, job: str, chunk: int, worker: str) -> Begin:
        """Note that a worker takes up a chunk."""
        status, attempt = self._run("begin", job, chunk, worker)
        return Begin(status, int(attempt))

    def progress(self, job: str, chunk: int, items: int, worker: str) -> None:
        """Note how many items of a running chunk are read."""
        self._run("progress", job, chunk, items, worker)

    def hand_back(self, job: str, chunk: int) -> None:
        """Note that a chunk goes back to the queue unharmed."""
        self._run("hand_back", job, chunk)

    def mark(self, job: str, chunk: int, completed: int, failed: int, *, again: bool = False) -> bool:
        """Note that a chunk's part is durable; return whether this call was the one that counted it.

        Args:
            again: the chunk's items had failed before, and are counted as failed already
        """
        counted, _ = self._run("mark", job, chunk, completed, failed, completed + failed if again else 0)
        return bool(counted)

    def hold(self, job: str, status: str) -> bool:
        """Stop a job for now (paused) or for good (cancelling); return whether this call did it."""
        return bool(self._run("hold", job, status))

    def finish(self, job: str, status: str, retention_seconds: float, message: str = "") -> bool:
        """End the job with a final status; return whether this call ended it."""
        return bool(self._run("finish", job, status, message, int(retention_seconds)))

    def attempts(self, job: str, chunk: int) -> int:
        """Return how many runs of a chunk have begun."""
        return int(self._redis.hget(f"{self._prefix}job:{job}:attempts", str(chunk)) or 0)

    def done_among(self, job: str, chunks: Iterable[int]) -> set[int]:
        """Return those of the chunks that are marked, in one round trip."""
        asked = list(chunks)
        pipeline = self._redis.pipeline(transaction=False)
        for chunk in asked:
            pipeline.getbit(f"{self._prefix}job:{job}:done", chunk)
        return {chunk for chunk, bit in zip(asked, pipeline.execute(), strict=True) if bit}

    def next_finished(self, timeout: float) -> str | None:
        """Wait up to `timeout` seconds for a job whose last chunk was marked; return its id."""
        popped = cast("list[str] | None", self._redis.blpop([self._prefix + "finished"], timeout=timeout))
        return popped[1] if popped else None

    def jobs(self) -> list[str]:
        """Return the ids of all jobs that Redis remembers, oldest first; forgets expired ones."""
        ids = cast("list[str]", self._redis.zrange(self._prefix + "jobs", 0, -1))
        gone = [job for job in ids if not self._redis.exists(f"{self._prefix}job:{job}")]
        if gone:
            self._redis.zrem(self._prefix + "jobs", *gone)
        return [job for job in ids if job not in gone]

    def load(self, job: str) -> Progress | None:
        """Return a job's progress, or None if Redis does not know it."""
        key = f"{self._prefix}job:{job}"
        pipeline = self._redis.pipeline(transaction=True)
        pipeline.hgetall(key)
        pipeline.hgetall(key + ":running")
        pipeline.lrange(key + ":rate", 0, -1)
        record, running, rate = pipeline.execute()
        if not record.get("status"):
            return None
        return _progress(job, record, running, rate, self._clock())

    def _run(self, transition: str, job: str, *arguments: object) -> Any:
        now = f"{self._clock():.3f}"
        return self._script(keys=[self._prefix], args=[transition, job, now, *map(str, arguments)])


def _progress(
    job: str, record: dict[str, str], running: dict[str, str], rate: list[str], now: float
) -> Progress:
    def count(name: str) -> int:
        return int(record.get(name, 0))

    def total(name: str) -> int | None:
        return int(record[name]) if name in record else None

    return Progress(
        job=job,
        workspace=record["workspace"],
        status=record["status"],
        created_at=float(record["created_at"]),
        kind=record.get("kind", "recognition"),
        source=record.get("source", ""),
        chunks_planned=count("chunks_planned"),
        items_planned=count("items_planned"),
        chunks_total=total("chunks_total"),
        items_total=total("items_total"),
        chunks_done=count("chunks_done"),
        completed=count("completed"),
        failed=count("failed"),
        updated_at=float(record.get("updated_at", 0)),
        error=record.get("error", ""),
        timestamps={name: float(value) for name, value in record.items() if name.endswith("_at")},
        running=tuple(sorted((_running(*pair) for pair in running.items()), key=lambda run: run.chunk)),
        items_per_second=_rate(rate, now),
    )


def _running(chunk: str, value: str) -> Running:
    items, seen_at, worker = value.split(" ", 2)
    return Running(int(chunk), int(items), float(seen_at), worker)


def _rate(marks: list[str], now: float) -> float | None:
    """Items per second over the newest marks; the oldest one only starts the clock."""
    if len(marks) < 2:
        return None
    times, counts = zip(*((float(t), int(n)) for t, n in (mark.split() for mark in marks)), strict=True)
    elapsed = now - times[-1]
    return sum(counts[:-1]) / elapsed if elapsed > 0 else None
