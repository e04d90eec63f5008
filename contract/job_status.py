"""What is said of a job: the answer of the HTTP API, of `status --json`, and of the public client.

Standard library only, since the public client imports it.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from contract.states import ENDED, Action, State

JOB_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""What a job's id looks like: safe in paths, URLs and Redis keys."""

TIMESTAMPS = frozenset(f"{state}_at" for state in State if state is not State.VALIDATING)
"""When a job entered each state, as the ledger names it and the status shows it; it is created validating."""


@dataclass(frozen=True, slots=True)
class Running:
    """One chunk in a worker's hands: how many of its items are read, and when it last said so."""

    chunk: int
    items: int
    seen_at: float
    worker: str


class Mark(NamedTuple):
    """One chunk that became durable: when, in Unix seconds, with how many items, and by whom."""

    at: float
    items: int
    worker: str = ""


@dataclass(frozen=True, slots=True)
class FailedItem:
    """One failed item for a first look, its texts cut to SHOWN characters; `errors.jsonl` has them whole."""

    id: str
    uri: str
    code: str
    message: str


@dataclass(frozen=True)
class RequestCounts:
    """Items of a job; `total` counts what is planned so far until the plan has ended."""

    total: int
    completed: int
    failed: int


@dataclass(frozen=True)
class ChunkCounts:
    """Chunks of a job; `total` counts those planned so far until the plan has ended."""

    total: int
    done: int


@dataclass(frozen=True)
class WorkerRate:
    """What one worker has done for a job lately."""

    name: str
    items_per_second: float


@dataclass(frozen=True)
class JobStatus:
    """One job after the OpenAI Batch object; times in Unix seconds, `eta_seconds` None while unknown.

    `ended` says that nothing more will happen to the job by itself, `actions` what may be done with it now.
    `waiting_for` says what keeps a job from its first item, where that is known.
    `rate` holds the newest chunks as (time, items, worker), oldest first; `recent_errors` is a first look.
    """

    id: str
    status: State
    kind: str
    source: str
    workspace: str
    request_counts: RequestCounts
    chunks: ChunkCounts
    planning: bool
    created_at: float
    updated_at: float
    items_per_second: float | None
    eta_seconds: float | None
    ended: bool = False
    actions: tuple[Action, ...] = ()
    in_progress_at: float | None = None
    finalizing_at: float | None = None
    completed_at: float | None = None
    failed_at: float | None = None
    paused_at: float | None = None
    cancelling_at: float | None = None
    cancelled_at: float | None = None
    running: tuple[Running, ...] = ()
    workers: tuple[WorkerRate, ...] = ()
    rate: tuple[Mark, ...] = ()
    stage_seconds: dict[str, float] = field(default_factory=dict)
    recent_errors: tuple[FailedItem, ...] = ()
    error: str = ""
    waiting_for: str = ""
    object: Literal["job"] = "job"

    def __post_init__(self) -> None:
        """Set `ended`, a field so that the web UI gets it too, from `status`."""
        object.__setattr__(self, "ended", self.status in ENDED)

    @property
    def items_read(self) -> int:
        """Items with a line, plus those of running chunks that the model has read."""
        ended = self.request_counts.completed + self.request_counts.failed
        return ended + sum(run.items for run in self.running)

    @property
    def phase(self) -> str:
        """What the job is doing, in words: an operator must see when nobody works on it."""
        if self.status is not State.IN_PROGRESS:
            return self.status.words
        if not self.items_read and self.waiting_for:
            return f"waiting for {self.waiting_for}"
        if not self.items_read and not self.running:
            return "waiting for a worker"
        return "planning and reading" if self.planning else "reading"

    @property
    def throughput(self) -> str:
        """`items_per_second` as text, empty while it is unknown."""
        return f"{self.items_per_second:,.1f} items/s" if self.items_per_second else ""

    @property
    def progress(self) -> str:
        """All of that in one line, for a log or a terminal."""
        counts, open_end = self.request_counts, "+" if self.planning else ""
        return (
            f"{self.id}: {self.phase}, {self.items_read:,} of {counts.total:,}{open_end} items, "
            f"{counts.failed:,} failed {self.throughput}".rstrip()
        )
