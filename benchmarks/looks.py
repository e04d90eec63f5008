"""What control's looks at a job cost, for few and for many chunks, none of which is read or written."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.rows import Row
from contract.job import Job, Plan
from contract.kinds.recognition import RecognitionParameters
from contract.layout import name_of
from contract.records import PartOutcome
from contract.source import Source
from contract.storage.base import Store
from contract.workspace import Workspace
from producer.control.reconcile import FULL_LOOKS, Reconciler
from producer.session import Session

FEW, MANY = 1_000, 10_000_000
"""Chunks of a small job, and of one of 10¹⁰ crops."""

RUNNING = 16
"""Chunks in the queue and with workers."""


@dataclass
class Parts:
    """A store that lists so many parts, which nobody has written, and counts its calls."""

    store: Store
    count: int
    calls: int = 0

    def names(self, folder: str) -> Iterator[str]:  # noqa: ARG002 - of parts only
        """Yield the names of the parts."""
        self.calls += 1
        return (f"{name_of(number)}.jsonl" for number in range(self.count))

    def __getattr__(self, name: str) -> Any:
        self.calls += 1
        return getattr(self.store, name)


def _calls(session: Session) -> int:
    stats: dict[str, Any] = session.client.info("commandstats")
    # Asking is a command, too.
    return sum(int(one["calls"]) for name, one in stats.items() if not name.startswith("cmdstat_info"))


def looks_at(chunks: int, folder: Path, session: Session) -> dict[str, float]:
    """Return what a look costs while chunks run, in Redis commands, requests to storage and milliseconds.

    `full` are the processor seconds of a full look, without what storage takes to list the parts.
    """
    name, ledger = f"looks-{chunks}", session.ledger
    store = Parts(session.storage.at(str(folder)), chunks - RUNNING)
    workspace: Any = Workspace(str(folder / name), store)
    job = Job(
        id=name,
        parameters=RecognitionParameters(),
        source=Source(type="manifest", uri=str(folder / "crops.jsonl")),
        created_at=int(time.time()),
        plan=Plan(chunks=chunks, items=1024 * chunks),
    )
    ledger.open(name, workspace.root, job.kind, job.source.uri, 0)
    ledger.recount(name, None, chunks - RUNNING, PartOutcome(1024 * (chunks - RUNNING), 0))
    ledger.ready(name, chunks)
    for chunk in ledger.feed(name, RUNNING):
        session.dispatcher.send(job, workspace.root, chunk)
    reconciler = Reconciler(ledger, session.dispatcher)

    def look() -> None:
        progress = ledger.load(name)
        assert progress
        reconciler.reconcile(job, workspace, progress)

    started = time.process_time()
    look()
    full = time.process_time() - started
    begun, commands, store.calls = time.perf_counter(), _calls(session), 0
    for _ in range(FULL_LOOKS - 1):
        look()
    count = FULL_LOOKS - 1
    return {
        "commands": (_calls(session) - commands) / count,
        "requests": store.calls / count,
        "milliseconds": 1000 * (time.perf_counter() - begun) / count,
        "full": full,
    }


def looks(folder: Path, session: Session) -> list[Row]:
    """Return the rows."""
    few, many = (looks_at(chunks, folder, session) for chunks in (FEW, MANY))
    title = f"control's look at {MANY:,} chunks"
    return [
        Row(
            f"{title}: Redis commands over those for {FEW:,}",
            many["commands"] / few["commands"],
            "",
            1,
            at_most=True,
        ),
        Row(f"{title}: requests to storage", many["requests"], "", 0, at_most=True),
        Row(title, many["milliseconds"], "ms", 50, at_most=True),
        Row(f"{title}, a full one: processor", many["full"], "s", 60, at_most=True),
    ]
