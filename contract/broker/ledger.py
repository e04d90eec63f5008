"""The Python side of the ledger: one method per transition of `ledger.lua`."""

import time
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, cast

import msgspec

from contract.broker.ledger_script import ledger_script
from contract.broker.waiting_jobs import WaitingJobs
from contract.errors import IdTakenError
from contract.records import PartOutcome
from contract.states import ENTERED_BY, State

if TYPE_CHECKING:
    from redis import Redis

NOTHING = PartOutcome(0, 0)

UNKNOWN = "unknown"
"""The status that `begin` returns for a job that Redis does not have."""


RESERVED_SECONDS = 600
"""Seconds that an id is kept for a workspace: longer than the writing of job.json and its retries."""


@dataclass(frozen=True, slots=True)
class Begin:
    """The ledger's answer to a worker that starts a chunk.

    `attempt` counts from 1. 0 means that the chunk is done; -1 that the job does not run now or, with the
    status `unknown`, that Redis has lost it. `unread` runs before this one, in a row, ended without a trace
    before an item was read: their processes died.
    """

    status: str
    attempt: int
    unread: int = 0


class Ledger(WaitingJobs):
    """Progress of jobs in one Redis database; every write is one idempotent Lua call.

    Args:
        redis: a client with decode_responses=True
        namespace: the settings' namespace; every key starts with it
        clock: Unix seconds
    """

    def __init__(self, redis: "Redis", namespace: str, clock: Callable[[], float] = time.time) -> None:
        super().__init__(redis, namespace, clock)
        self._script = redis.register_script(ledger_script())

    def reserve(self, job: str, workspace: str) -> None:
        """Keep an id for a workspace for RESERVED_SECONDS, or until `open` registers the job.

        Raises:
            WorkspaceConflictError: a job with this id lives in another workspace, or is about to
        """
        ours, known = self._run("reserve", job, workspace, RESERVED_SECONDS)
        if not ours:
            raise IdTakenError(job, known)

    def withdraw(self, job: str, workspace: str) -> None:
        """Undo `reserve`."""
        self._run("withdraw", job, workspace)

    def open(
        self,
        job: str,
        workspace: str,
        kind: str,
        source: str,
        created_at: int,
        tags: Iterable[str] = (),
        metadata: Mapping[str, str] = MappingProxyType({}),
        order: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        """Register a job, or reopen an ended one.

        Args:
            order: values of ORDER: what decides when the job's chunks are sent

        Raises:
            WorkspaceConflictError: a job with this id lives in another workspace
        """
        words = msgspec.json.encode({"tags": tuple(tags), "metadata": dict(metadata)}).decode()
        pairs = (word for pair in order.items() for word in pair)
        ours, known = self._run("open", job, workspace, kind, source, created_at, words, _new_id(), *pairs)
        if not ours:
            raise IdTakenError(job, known)

    def planned(self, job: str, chunks: int, items: int, *, sent: bool = False) -> None:
        """Record how many chunks and items are planned so far.

        Args:
            sent: the caller sends each of these chunks, so control does not
        """
        self._run("planned", job, chunks, items, int(sent))

    def ready(self, job: str, chunks: int) -> None:
        """Record that control may send the chunks below this number, except those that are done."""
        self._run("ready", job, chunks)

    def feed(self, job: str, most: int) -> list[int]:
        """Return the next chunks to send, `most` at most; no other call returns them."""
        return [int(chunk) for chunk in self._run("feed", job, most)]

    def plan_done(self, job: str, chunks: int, items: int) -> bool:
        """Record the plan's totals; return whether this call completed the job."""
        return bool(self._run("plan_done", job, chunks, items))

    def begin(self, job: str, chunk: int, worker: str) -> Begin:
        """Record that a worker starts a chunk."""
        status, attempt, unread = self._run("begin", job, chunk, worker)
        return Begin(status, int(attempt), int(unread))

    def progress(self, job: str, chunk: int, items: int, worker: str) -> None:
        """Record how many items of a running chunk are read."""
        self._run("progress", job, chunk, items, worker)

    def hand_back(self, job: str, chunk: int) -> None:
        """Record that a chunk goes back to the queue; this run does not count as an attempt."""
        self._run("hand_back", job, chunk)

    def mark(
        self,
        job: str,
        chunk: int,
        outcome: PartOutcome,
        *,
        again: bool = False,
        worker: str = "",
        seconds: float | None = None,
        stage_seconds: dict[str, float] | None = None,
    ) -> bool:
        """Record that a chunk's part is durable; return whether this call counted it.

        Args:
            outcome: what the part holds
            again: the chunk retries items that are already counted as failed
            worker: name of the worker that read the chunk; empty if unknown
            seconds: how long it read; None if unknown
            stage_seconds: seconds per stage; None if unknown
        """
        stages = stage_seconds or {}
        counted, _ = self._run(
            "mark",
            job,
            chunk,
            outcome.completed,
            outcome.failed,
            outcome.completed + outcome.failed if again else 0,
            worker,
            "" if seconds is None else f"{seconds:.6f}",
            len(stages),
            len(outcome.codes),
            *(word for stage, seconds in stages.items() for word in (stage, f"{seconds:.6f}")),
            *_codes(outcome),
            *_errors(outcome),
        )
        return bool(counted)

    def recount(
        self,
        job: str,
        submissions: int | None = None,
        chunks: int = 0,
        outcome: PartOutcome = NOTHING,
    ) -> bool:
        """Replace the counts of a job whose ledger contradicts its workspace; return whether this call did.

        `plan_done` and `mark` then note again what the workspace holds.

        Args:
            submissions: the count in the caller's `Progress`; if the job was submitted again since, nothing
                changes
            chunks: how many chunks are done, from the first on
            outcome: what they hold, with the newest errors first
        """
        known = "" if submissions is None else submissions
        counts = chunks, outcome.completed, outcome.failed, len(outcome.codes), *_codes(outcome)
        return bool(self._run("recount", job, known, _new_id(), *counts, *_errors(outcome)))

    def hold(self, job: str, status: State, submissions: int | None = None) -> bool:
        """Pause or cancel a job: `status` is `paused` or `cancelling`.

        Return whether this call did it; False if `TRANSITIONS` has no such transition from the job's state.

        Args:
            submissions: as for `recount`
        """
        return bool(self._run("hold", job, ENTERED_BY[status], "" if submissions is None else submissions))

    def finish(
        self,
        job: str,
        status: State,
        retention_seconds: float,
        message: str = "",
        submissions: int | None = None,
    ) -> bool:
        """End the job with a final status; return whether this call ended it, as for `hold`.

        Args:
            submissions: the count in the caller's `Progress`. If the job was submitted again since, it does
                not end, and `next_finished` returns it once more.
        """
        known = "" if submissions is None else submissions
        return bool(self._run("finish", job, ENTERED_BY[status], message, int(retention_seconds), known))

    def in_flight(self, job: str, most: int) -> list[int]:
        """Return the first chunks that were sent and are not marked, `most` at most."""
        return [int(chunk) for chunk in self._run("in_flight", job, most)]

    def jobs(self) -> list[str]:
        """Return the ids of all jobs in Redis, oldest first; removes expired ones from the index."""
        known = cast("list[str]", self._redis.zrange(self._prefix + "jobs", 0, -1))
        pipeline = self._redis.pipeline(transaction=False)
        for job in known:
            pipeline.exists(f"{self._prefix}job:{job}")
        there = {job for job, exists in zip(known, pipeline.execute(), strict=True) if exists}
        for job in known:
            if job not in there:
                self._run("unlist", job)
        return [job for job in known if job in there]

    def _run(self, transition: str, job: str, *arguments: object) -> Any:
        now = f"{self._clock():.3f}"
        return self._script(keys=[self._prefix], args=[transition, job, now, *map(str, arguments)])


def _new_id() -> str:
    return uuid.uuid4().hex[:16]


def _codes(outcome: PartOutcome) -> list[object]:
    return [word for pair in outcome.codes.items() for word in pair]


def _errors(outcome: PartOutcome) -> list[str]:
    return [msgspec.json.encode(error).decode() for error in outcome.first_errors]
