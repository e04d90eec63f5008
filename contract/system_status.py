"""The state of a deployment: what `GET /system` and `GET /workers` answer, and the public client returns.

Standard library only, since the public client imports it. Times are Unix seconds.
"""

from dataclasses import dataclass
from typing import Literal

Severity = Literal["critical", "warning"]

WorkerState = Literal["reading", "loading", "idle", "stuck"]


@dataclass(frozen=True)
class ChunkInHand:
    """A chunk that a worker reads, with the number of items that are read; chunks count from 0.

    `job` is None if the key may not see it.
    """

    job: str | None
    kind: str
    chunk: int
    items: int
    since: float


@dataclass(frozen=True)
class ProcessStatus:
    """One live process; the fields from `state` on are a worker's, and those of control say nothing.

    `progress_age_seconds` and `moved_seconds_ago` count from the last movement of the slowest chunk in hand;
    the first is 0, the second None while there is none. `state_text` is the state in words. `utilisation` in
    0..1 and the memory in bytes are a GPU's. `busy` is the share of the last minute with a chunk in hand.
    `ratio` compares the pace with the median of the workers with the same kind and models, None without
    another one; a worker is `slow` if it is far below that.
    """

    name: str
    role: str
    pid: int
    host: str
    device: str
    started_at: float
    seen_at: float
    progress_age_seconds: float
    state: WorkerState = "idle"
    state_text: str = ""
    utilisation: float | None = None
    memory_used: int | None = None
    memory_total: int | None = None
    busy: float | None = None
    in_hand: tuple[ChunkInHand, ...] = ()
    items_per_second: float | None = None
    ratio: float | None = None
    slow: bool = False
    moved_seconds_ago: float | None = None


@dataclass(frozen=True)
class WorkerList:
    """The live processes; `expected` is how many workers should be alive, 0 if that is not set."""

    data: tuple[ProcessStatus, ...]
    alive: int
    expected: int


@dataclass(frozen=True)
class QueueStatus:
    """One queue: its messages, and how long the oldest has waited, 0 if none waits."""

    name: str
    messages: int
    oldest_seconds: float


@dataclass(frozen=True)
class Alert:
    """What is wrong now, in words, by the name of the alert in `deploy/monitoring/alerts.yml`."""

    name: str
    severity: Severity
    text: str
    job: str | None = None


@dataclass(frozen=True)
class SystemStatus:
    """The system in figures. `waiting` messages are in queues, `held` ones with workers; `in_line` counts the
    chunks that control has still to send. `alerts` are worst first, and `alert` is the first.

    While Redis is away, `redis` is false and the figures are None.
    """

    at: float
    redis: bool
    queues: tuple[QueueStatus, ...] = ()
    waiting: int | None = None
    held: int | None = None
    in_line: int | None = None
    oldest_seconds: float | None = None
    uploads_waiting: int | None = None
    workers_alive: int | None = None
    workers_expected: int = 0
    workers_slow: int | None = None
    controls_alive: int | None = None
    items_per_second: float | None = None
    alert: Alert | None = None
    alerts: tuple[Alert, ...] = ()
    flower_url: str | None = None
