"""True checks of everything a job needs: Redis, storage, a live worker whose device moves, control."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import redis

from contract.broker.reports import ProcessReport, Reports
from contract.errors import TraceOcrError
from contract.storage import Storage, is_remote, join
from contract.storage.roots import AllowedRoots

STUCK_SECONDS = 120.0
"""A running chunk that has not moved for so long: its device hangs, or its model is very slow. The watchdog
ends the process later, after `stall_seconds`; an operator should hear of it sooner."""


@dataclass(frozen=True)
class Check:
    """One thing looked at; `detail` is for people."""

    ok: bool
    detail: str


def check_redis(client: redis.Redis) -> Check:
    """Return whether Redis answers, and how soon."""
    started = time.perf_counter()
    try:
        client.ping()
    except redis.RedisError as error:
        return Check(False, f"Redis does not answer ({type(error).__name__})")
    return Check(True, f"answered in {(time.perf_counter() - started) * 1000:.1f} ms")


def check_storage(roots: AllowedRoots, storage: Storage) -> Check:
    """Return whether every allowed root can be looked into."""
    problems = list(_problems(roots, storage))
    return Check(not problems, "; ".join(problems) or f"{len(list(roots))} allowed roots can be read")


def _problems(roots: AllowedRoots, storage: Storage) -> Iterator[str]:
    for root in roots:
        try:
            if is_remote(root):
                storage.at(root).exists(join(root, ".trace-ocr"))
            elif not Path(root).is_dir():
                yield f"{root} is no folder here"
        except TraceOcrError as error:
            yield str(error)


def check_processes(reports: Reports) -> dict[str, Check]:
    """Return whether a worker and a control process live, and whether the workers' devices move."""
    try:
        live = reports.live()
    except redis.RedisError:
        unknown = Check(False, "not known while Redis is away")
        return {"worker": unknown, "device": unknown, "control": unknown}
    workers = [report for report in live if report.role == "worker"]
    controls = [report for report in live if report.role == "control"]
    return {
        "worker": _count(workers, "no worker is alive: start one with `trace-ocr worker`"),
        "device": _moving(workers),
        "control": _count(controls, "no control process is alive: start one with `trace-ocr control`"),
    }


def _count(reports: list[ProcessReport], nothing: str) -> Check:
    names = ", ".join(sorted(report.name for report in reports))
    return Check(bool(reports), f"{len(reports)} alive: {names}" if reports else nothing)


def _moving(workers: list[ProcessReport]) -> Check:
    if not workers:
        return Check(False, "no worker is alive")
    stuck = [worker for worker in workers if worker.progress_age_seconds > STUCK_SECONDS]
    if not stuck:
        return Check(True, "every running chunk moves")
    worst = max(stuck, key=lambda worker: worker.progress_age_seconds)
    return Check(
        False,
        f"{len(stuck)} of {len(workers)} workers stand still; {worst.name} for "
        f"{worst.progress_age_seconds:.0f} s: see its log",
    )


@dataclass
class WorkerWatch:
    """Whether a worker lives, asked of Redis at most once in a while: every upload wants to know."""

    reports: Reports
    seconds: float = 1.0
    clock: Callable[[], float] = time.monotonic
    _until: float = 0.0
    _alive: bool = False

    def alive(self) -> bool:
        """Return whether any worker has reported itself lately."""
        if self.clock() >= self._until:
            self._alive = bool(self.reports.live("worker"))
            self._until = self.clock() + self.seconds
        return self._alive
