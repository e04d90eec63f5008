"""Health checks of everything a job needs: Redis, storage, a live worker that makes progress, control."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import redis

from contract.broker.process_report import ProcessReport
from contract.broker.reports import Reports
from contract.broker.server import faults_of, information
from contract.counting import counted
from contract.errors import TraceOcrError
from contract.storage import Storage
from contract.storage.roots import AllowedRoots, check_root
from producer.control.paces import STUCK_SECONDS


@dataclass(frozen=True)
class Check:
    """The result of one check; `detail` is a text for people."""

    ok: bool
    detail: str


def check_redis(client: redis.Redis) -> Check:
    """Check that Redis answers; report how fast."""
    started = time.perf_counter()
    try:
        client.ping()
    except redis.RedisError as error:
        return Check(False, f"Redis does not answer ({type(error).__name__})")
    return Check(True, f"answered in {(time.perf_counter() - started) * 1000:.1f} ms")


def check_broker(client: redis.Redis) -> Check:
    """Check that Redis is set up as a queue needs it: it takes writes, and drops nothing of them."""
    try:
        faults = [fault for fault in faults_of(information(client) or {}) if fault.severe]
    except redis.RedisError:
        return Check(False, "unknown while Redis is unavailable")
    told = "; ".join(f"{fault.detail} ({fault.advice})" for fault in faults)
    return Check(not faults, told or "takes writes and evicts nothing")


def check_answers(fetches: bool) -> Check:
    """Check that this process fetches the answers to uploads."""
    said = "answers to uploads are fetched" if fetches else "no answers are fetched: restart this API process"
    return Check(fetches, said)


def check_storage(roots: AllowedRoots, storage: Storage) -> Check:
    """Check that every allowed root can be listed."""
    problems = list(_problems(roots, storage))
    return Check(
        not problems, "; ".join(problems) or f"{counted(len(list(roots)), 'allowed root')} can be listed"
    )


def _problems(roots: AllowedRoots, storage: Storage) -> Iterator[str]:
    for root in roots:
        try:
            check_root(root, storage)
        except TraceOcrError as error:
            yield str(error)


def check_processes(reports: Reports) -> dict[str, Check]:
    """Check that a worker and a control process are alive, and that running chunks make progress."""
    try:
        live = reports.live()
    except redis.RedisError:
        unknown = Check(False, "unknown while Redis is unavailable")
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
        return Check(True, "every running chunk makes progress")
    worst = max(stuck, key=lambda worker: worker.progress_age_seconds)
    return Check(
        False,
        f"{len(stuck)} of {len(workers)} workers make no progress; {worst.name} for "
        f"{worst.progress_age_seconds:.0f} s: see its log",
    )


@dataclass
class WorkerWatch:
    """Knows whether a worker is alive; caches Redis's answer for `seconds`, as every upload checks."""

    reports: Reports
    seconds: float = 1.0
    clock: Callable[[], float] = time.monotonic
    _until: float = 0.0
    _alive: bool = False

    def alive(self) -> bool:
        """Return whether any worker has reported recently."""
        if self.clock() >= self._until:
            self._alive = bool(self.reports.live("worker"))
            self._until = self.clock() + self.seconds
        return self._alive

    def activity(self) -> str:
        """Return what keeps all live workers from reading, such as loading a model; else empty."""
        activities = [report.activity for report in self.reports.live("worker")]
        return activities[0] if all(activities) and activities else ""
