"""The status of a job: what the HTTP API, `status --json` and the public client return.

Standard library only, since the public client imports it.
"""

from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from contract.counting import counted
from contract.states import ENDED, Action, State

JOB_ID = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
"""The pattern of a job's id: safe in paths, URLs and Redis keys."""

TIMESTAMPS = frozenset(f"{state}_at" for state in State if state is not State.VALIDATING)
"""Names of the fields that say when a job entered each state; `created_at` stands for validating."""


@dataclass(frozen=True, slots=True)
class Running:
    """One running chunk: its number of items read, and when its worker last reported (Unix seconds)."""

    chunk: int
    items: int
    seen_at: float
    worker: str


class Mark(NamedTuple):
    """One chunk that became durable: when, in Unix seconds, its number of items, and its worker."""

    at: float
    items: int
    worker: str = ""


@dataclass(frozen=True, slots=True)
class FailedItem:
    """One failed item, its texts cut to SHOWN characters; `errors.jsonl` has them in full."""

    id: str
    uri: str
    code: str
    message: str


@dataclass(frozen=True)
class RequestCounts:
    """Items of a job; until the plan has ended, `total` counts the items planned so far."""

    total: int
    completed: int
    failed: int


@dataclass(frozen=True)
class ChunkCounts:
    """Chunks of a job; until the plan has ended, `total` counts the chunks planned so far."""

    total: int
    done: int


@dataclass(frozen=True)
class WorkerRate:
    """One worker's recent throughput for a job."""

    name: str
    items_per_second: float


@dataclass(frozen=True)
class Line:
    """A job's place among the jobs with chunks that control has still to send, counted from 1.

    `items_ahead` counts the items of jobs that go first: urgent ones, and those of the same tenant with an
    earlier deadline or a higher priority. `share` is the job's part of the devices now, 0 to 1.
    """

    tenant: str
    place: int
    jobs: int
    items_ahead: int
    share: float


FAILING = "chunks fail"
"""The `attention` of a job whose chunks end without a part again and again; its `state_text` says why."""


@dataclass(frozen=True)
class JobStatus:
    """One job, after the OpenAI Batch object. Times are Unix seconds; `eta_seconds` is None while unknown.

    `ended` means that the job does not change any more unless it is reopened; `actions` are the actions that
    its state allows. `waiting_for` says what delays the job's first item, if that is known. `rate` holds the
    newest chunks as (time, items, worker), oldest first; `recent_errors` holds the newest failed items.
    `tags` and `metadata` are what the job's caller has given it. `line` is the job's place in the line, None
    once all its chunks are sent. `projected_end` is when the job ends at its recent pace, None while that is
    unknown, and `margin_seconds` how long that is before its `deadline`; the job is `at_risk` if it ends
    after its deadline, or nothing works on it. `ends_at` is when it ended, or else its projected end.
    `error_codes` counts the failed items by code.

    `state_text` is what the job is doing in words, `attention` why somebody should look at it, empty if there
    is no reason, and `headline` a sentence; they are empty where the other processes are not asked.
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
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)
    tenant: str = ""
    priority: int = 0
    line: Line | None = None
    deadline: float | None = None
    at_deadline: str = "continue"
    projected_end: float | None = None
    margin_seconds: float | None = None
    at_risk: bool = False
    ends_at: float | None = None
    error_codes: dict[str, int] = field(default_factory=dict)
    state_text: str = ""
    attention: str = ""
    headline: str = ""
    object: Literal["job"] = "job"

    def __post_init__(self) -> None:
        """Set `ended` from `status`; it is a field so that the web UI gets it too."""
        object.__setattr__(self, "ended", self.status in ENDED)

    @property
    def items_read(self) -> int:
        """Items with a line, plus those of running chunks that the model has read."""
        ended = self.request_counts.completed + self.request_counts.failed
        return ended + sum(run.items for run in self.running)

    @property
    def phase(self) -> str:
        """What the job is doing, in words: an operator must see when no worker runs it."""
        if self.status is not State.IN_PROGRESS:
            return self.status.words
        if self.attention == FAILING:
            return self.state_text
        if not self.items_read and self.waiting_for:
            return f"waiting for {self.waiting_for}"
        if not self.items_read and not self.running:
            return "waiting for a worker"
        return "planning and reading" if self.planning else "reading"

    @property
    def throughput(self) -> str:
        """`items_per_second` as text; empty while it is unknown."""
        return f"{self.items_per_second:,.1f} items/s" if self.items_per_second else ""

    @property
    def in_line(self) -> str:
        """The job's place in the line as text; empty without one."""
        if self.line is None:
            return ""
        place = f"place {self.line.place} of {self.line.jobs} in line, tenant {self.line.tenant}"
        if self.line.items_ahead:
            return f"{place}: {counted(self.line.items_ahead, 'item goes', 'items go')} first"
        return f"{place}: {self.line.share:.0%} of the workers"

    @property
    def progress(self) -> str:
        """The job's progress in one line, for a log or a terminal."""
        counts, open_end = self.request_counts, "+" if self.planning else ""
        return (
            f"{self.id}: {self.phase}, {self.items_read:,} of {counts.total:,}{open_end} items, "
            f"{counts.failed:,} failed {self.throughput}".rstrip()
        )
