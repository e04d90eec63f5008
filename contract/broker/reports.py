"""Reports: every few seconds, each worker and control process writes that it is alive, and its metrics.

Keys, below the namespace:
  process:<role>:<name>:<pid>   string       one ProcessReport, as JSON; expires unless rewritten
  processes                     sorted set   "<role>:<name>:<pid>" -> when it was last written (Unix seconds)

A dead process's key expires; the next `Reports.live` removes its entry from the set.
"""

import os
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

import msgspec
import redis
import structlog
from redis.client import NEVER_DECODE

from contract.broker.app import make_redis
from contract.broker.process_report import MAX_METRICS, MAX_NAME, ProcessReport, Role
from contract.lines import UNREADABLE

if TYPE_CHECKING:
    from redis import Redis

    from contract.settings import Settings

REPORT_SECONDS = 5
"""Seconds between two reports: a third of the usual Prometheus scrape interval."""

EXPIRY_SECONDS = 4 * REPORT_SECONDS
"""Seconds after its last report when a process counts as dead; three reports may be lost."""

INDEX_SECONDS = 3_600
"""Seconds that a process stays in the index if nothing reads it; clocks differ by less."""

MAX_PROCESSES = 1_024
"""Newest processes read at once; a deployment has some tens."""

MAX_REPORT_BYTES = 2 * MAX_METRICS
"""Maximum bytes read of one report; escaping doubles some characters."""

FORGET_SECONDS = 2.0
"""Seconds that an ending process waits for its reporter, in case Redis is unreachable."""


class Reports:
    """The reports of all processes of one deployment.

    Args:
        client: a Redis client, with or without decode_responses
        namespace: the settings' namespace; every key starts with it
        clock: Unix seconds
    """

    def __init__(self, client: "Redis", namespace: str, clock: Callable[[], float] = time.time) -> None:
        self._client = client
        self._prefix = namespace + ":process:"
        self._index = namespace + ":processes"
        self._clock = clock

    def write(self, report: ProcessReport) -> None:
        """Store a report as seen now, replacing the process's last one; drops metrics that are too long."""
        now, member = self._clock(), _member(report)
        report = msgspec.structs.replace(report, seen_at=now)
        data = msgspec.json.encode(report)
        if len(report.metrics) > MAX_METRICS or len(data) > MAX_REPORT_BYTES:
            data = msgspec.json.encode(msgspec.structs.replace(report, metrics=""))
        pipeline = self._client.pipeline(transaction=True)
        pipeline.set(self._prefix + member, data, ex=EXPIRY_SECONDS)
        pipeline.zadd(self._index, {member: now})
        pipeline.zremrangebyscore(self._index, "-inf", now - INDEX_SECONDS)
        pipeline.execute()

    def live(self, role: Role | None = None) -> list[ProcessReport]:
        """Return the live processes by role, name and start time; skips entries that are no reports."""
        values = self._values()
        gone = [member for member, value in values.items() if not value]
        if gone:
            # A process that writes at this very moment is missing until its next report.
            self._client.zrem(self._index, *gone)
        reports = [report for report in map(_parse, values.values()) if report]
        return sorted(
            (report for report in reports if role in (None, report.role)),
            key=lambda report: (report.role, report.name, report.started_at),
        )

    def _values(self) -> dict[bytes, object]:
        """Return the value of each key in the index, as bytes, since decoding may raise."""
        raw: dict[str, Any] = {NEVER_DECODE: True}
        members: list[bytes] = self._client.execute_command(  # type: ignore[no-untyped-call]
            "ZREVRANGE", self._index, 0, MAX_PROCESSES - 1, **raw
        )
        pipeline = self._client.pipeline(transaction=False)
        for member in members:
            key = self._prefix.encode() + member
            pipeline.execute_command("GETRANGE", key, 0, MAX_REPORT_BYTES - 1, **raw)  # type: ignore[no-untyped-call]
        return dict(zip(members, pipeline.execute(raise_on_error=False), strict=True))

    def forget(self, report: ProcessReport) -> None:
        """Remove the report of a process that shuts down."""
        member = _member(report)
        pipeline = self._client.pipeline(transaction=True)
        pipeline.delete(self._prefix + member)
        pipeline.zrem(self._index, member)
        pipeline.execute()


class Reporter:
    """A thread that writes its process's report while the `with` block runs, and removes it at the end.

    A failure is logged once until a write succeeds again; the process keeps running.

    Args:
        reports: where to write
        make_report: returns the report; called in the thread
    """

    def __init__(self, reports: Reports, make_report: Callable[[], ProcessReport]) -> None:
        self._reports, self._make_report = reports, make_report
        self._ended, self._woken = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run, name="reporter", daemon=True)
        self._last: ProcessReport | None = None

    def __enter__(self) -> "Reporter":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Write the first report now, and then one every REPORT_SECONDS."""
        self._thread.start()

    def wake(self) -> None:
        """Write the next report now, to show a change without delay. Thread-safe."""
        self._woken.set()

    def close(self) -> None:
        """Stop, and remove the report; if Redis is unreachable the report expires instead. Idempotent."""
        self._ended.set()
        self._woken.set()
        if self._thread.ident is not None:
            self._thread.join(FORGET_SECONDS)

    def _run(self) -> None:
        logged = False
        while not self._ended.is_set():
            logged = self._write(logged)
            self._woken.wait(REPORT_SECONDS)
            self._woken.clear()
        try:
            if self._last:
                self._reports.forget(self._last)
        except redis.RedisError as error:
            structlog.get_logger().debug("report_not_removed", error=str(error))

    def _write(self, logged: bool) -> bool:
        """Write one report; return whether a failure is logged."""
        log = structlog.get_logger()
        try:
            self._last = self._make_report()
            self._reports.write(self._last)
        except redis.RedisError as error:
            if not logged:
                log.warning("report_failed", error=str(error))
            return True
        # Any exception: a failure to collect the metrics must not end the reporter.
        except Exception as error:
            if not logged:
                log.error("report_failed", exc_info=error)
            return True
        return False


def make_reporter(
    settings: "Settings",
    role: Role,
    name: str,
    device: str = "",
    figures: Callable[[], dict[str, Any]] = dict,
) -> Reporter:
    """Return a reporter of the calling process; the process's start time is now.

    Args:
        name: the process's name
        device: what the process runs on, for display
        figures: returns the fields of the report that change with time
    """
    # Its own connection with few retries: a late report is worthless.
    reports = Reports(make_redis(settings, retries=1), settings.namespace)
    host, now = socket.gethostname() or "localhost", time.time()
    start = ProcessReport(name[:MAX_NAME], role, os.getpid(), host[:MAX_NAME], device[:MAX_NAME], now, now)
    return Reporter(reports, lambda: msgspec.structs.replace(start, **figures()))


def _member(report: ProcessReport) -> str:
    return f"{report.role}:{report.name}:{report.pid}"


def _parse(value: object) -> ProcessReport | None:
    try:
        return msgspec.json.decode(value, type=ProcessReport) if isinstance(value, bytes) else None
    except UNREADABLE:
        return None
