"""A job's progress, parsed from its Redis keys."""

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import msgspec

from contract.job_status import FailedItem, Mark, Running
from contract.lines import UNREADABLE
from contract.states import ENDED, State
from contract.tenants import DEFAULT_TENANT


@dataclass(frozen=True, slots=True)
class Progress:
    """What the ledger knows about one job. Counts are items unless named chunks; times are Unix seconds."""

    job: str
    workspace: str
    status: State
    created_at: float
    kind: str = "recognition"
    source: str = ""
    tenant: str = DEFAULT_TENANT
    priority: int = 0
    deadline: float | None = None
    at_deadline: str = "continue"
    submissions: int = 0
    count_id: str = ""
    chunks_planned: int = 0
    items_planned: int = 0
    chunks_total: int | None = None
    items_total: int | None = None
    chunks_done: int = 0
    chunks_sent: int = 0
    completed: int = 0
    failed: int = 0
    updated_at: float = 0.0
    error: str = ""
    timestamps: dict[str, float] = field(default_factory=dict)
    running: tuple[Running, ...] = ()
    items_per_second: float | None = None
    marks: tuple[Mark, ...] = ()
    stage_seconds: dict[str, float] = field(default_factory=dict)
    recent_errors: tuple[FailedItem, ...] = ()
    error_codes: dict[str, int] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    metadata: dict[str, str] = field(default_factory=dict)


def parse_progress(
    job: str,
    now: float,
    record: dict[str, str],
    running: Mapping[str, str] = MappingProxyType({}),
    rate: Sequence[str] = (),
    stages: Mapping[str, str] = MappingProxyType({}),
    errors: Sequence[str] = (),
    codes: Mapping[str, str] = MappingProxyType({}),
) -> Progress:
    """Return the progress in the values of a job's keys; `now` is in Unix seconds."""
    marks = [_mark(mark) for mark in rate]
    words = json.loads(record.get("words", "{}"))
    # As in the script: where nobody counts what is sent, all that is planned is.
    sent = record.get("chunks_sent", record.get("chunks_planned", 0))
    known = msgspec.convert({**record, "job": job, "chunks_sent": sent}, Progress, strict=False)
    return dataclasses.replace(
        known,
        timestamps={name: float(value) for name, value in record.items() if name.endswith("_at")},
        running=() if known.status in ENDED else _in_hand(running),
        items_per_second=_rate(marks, now),
        marks=tuple(reversed(marks)),
        stage_seconds={stage: float(seconds) for stage, seconds in stages.items()},
        recent_errors=tuple(_failed_items(errors)),
        error_codes={code: int(count) for code, count in sorted(codes.items())},
        tags=tuple(words.get("tags", ())),
        metadata=words.get("metadata", {}),
    )


def _in_hand(running: Mapping[str, str]) -> tuple[Running, ...]:
    return tuple(sorted((_running(*pair) for pair in running.items()), key=lambda run: run.chunk))


def _running(chunk: str, value: str) -> Running:
    items, seen_at, worker = value.split(" ", 2)
    return Running(int(chunk), int(items), float(seen_at), worker)


def _mark(value: str) -> Mark:
    at, items, *worker = value.split(" ", 2)
    return Mark(float(at), int(items), worker[0] if worker else "")


def _rate(marks: list[Mark], now: float) -> float | None:
    """Return the items per second over the newest marks; the oldest mark only starts the clock."""
    if len(marks) < 2:
        return None
    elapsed = now - marks[-1].at
    return sum(mark.items for mark in marks[:-1]) / elapsed if elapsed > 0 else None


def _failed_items(values: Sequence[str]) -> Iterator[FailedItem]:
    """Yield each item's newest entry. They are for display: one that is damaged must not fail the status."""
    seen: set[str] = set()
    for value in values:
        with contextlib.suppress(*UNREADABLE):
            item = msgspec.json.decode(value, type=FailedItem)
            if item.id not in seen:
                seen.add(item.id)
                yield item
