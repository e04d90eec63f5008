"""Reports: who lives says so, who died vanishes, and what is damaged is nobody."""

import queue
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import fakeredis
import msgspec
import pytest
import redis
from structlog.testing import capture_logs

from contract.broker import reports as module
from contract.broker.process_report import MAX_METRICS, ProcessReport
from contract.broker.reports import (
    EXPIRY_SECONDS,
    INDEX_SECONDS,
    REPORT_SECONDS,
    Reporter,
    Reports,
    make_reporter,
)
from contract.settings import Settings

INDEX = "trace-ocr:processes"
KEY = "trace-ocr:process:worker:gpu0@host:7"


def report(name: str = "gpu0@host", **fields: Any) -> ProcessReport:
    """Return a worker's report."""
    given: dict[str, Any] = {"role": "worker", "pid": 7, "host": "host", "device": "gpu0", **fields}
    return ProcessReport(name=name, **{"started_at": 500.0, "seen_at": 0.0, **given})


@pytest.fixture
def reports(fake_redis: fakeredis.FakeRedis, clock: Any) -> Reports:
    return Reports(fake_redis, "trace-ocr", clock)


class TestLive:
    def test_who_reported_lives_and_was_seen_when_the_report_was_written(self, reports: Reports) -> None:
        reports.write(report(progress_age_seconds=1.5, metrics="a 1\n"))

        [live] = reports.live()
        assert live == report(progress_age_seconds=1.5, metrics="a 1\n", seen_at=1_000.0)

    def test_a_newer_report_takes_the_place_of_the_older(self, reports: Reports, clock: Any) -> None:
        reports.write(report(device="old"))
        clock.now += REPORT_SECONDS
        reports.write(report(device="new"))

        assert [(live.device, live.seen_at) for live in reports.live()] == [("new", 1_005.0)]

    def test_processes_come_by_role_and_name_and_one_role_can_be_asked_for(self, reports: Reports) -> None:
        for name, role, pid in (
            ("b", "worker", 1),
            ("a", "worker", 2),
            ("a", "worker", 3),
            ("z", "control", 1),
        ):
            reports.write(report(name, role=role, pid=pid, started_at=float(-pid)))

        assert [(live.name, live.pid) for live in reports.live()] == [("z", 1), ("a", 3), ("a", 2), ("b", 1)]
        assert [live.name for live in reports.live("worker")] == ["a", "a", "b"]
        assert [live.name for live in reports.live("control")] == ["z"]

    def test_nobody_lives_in_an_empty_redis(self, reports: Reports) -> None:
        assert reports.live() == []

    def test_namespaces_do_not_see_each_other(
        self, reports: Reports, fake_redis: fakeredis.FakeRedis
    ) -> None:
        reports.write(report())

        assert Reports(fake_redis, "other").live() == []


class TestDead:
    def test_a_report_expires_after_some_intervals(
        self, reports: Reports, fake_redis: fakeredis.FakeRedis
    ) -> None:
        reports.write(report())

        assert 2 * REPORT_SECONDS < fake_redis.ttl(KEY) <= EXPIRY_SECONDS

    def test_who_expired_is_not_told_of_and_leaves_the_index(
        self, reports: Reports, fake_redis: fakeredis.FakeRedis
    ) -> None:
        reports.write(report())
        reports.write(report(pid=8))
        fake_redis.delete(KEY)

        assert [live.pid for live in reports.live()] == [8]
        assert fake_redis.zrange(INDEX, 0, -1) == ["worker:gpu0@host:8"]

    def test_who_ends_of_its_own_accord_is_gone_at_once(
        self, reports: Reports, fake_redis: fakeredis.FakeRedis
    ) -> None:
        reports.write(report())
        reports.forget(report())

        assert reports.live() == []
        assert fake_redis.keys() == []

    def test_the_index_stays_small_where_nobody_looks(
        self, reports: Reports, fake_redis: fakeredis.FakeRedis, clock: Any
    ) -> None:
        reports.write(report(pid=1))
        clock.now += INDEX_SECONDS + 1
        reports.write(report(pid=2))

        assert fake_redis.zrange(INDEX, 0, -1) == ["worker:gpu0@host:2"]


class TestBounds:
    def test_metrics_that_are_too_long_are_left_out(self, reports: Reports) -> None:
        reports.write(report(metrics="x" * (MAX_METRICS + 1)))

        assert [live.metrics for live in reports.live()] == [""]

    def test_so_are_those_that_grow_too_long_in_redis(self, reports: Reports) -> None:
        reports.write(report(metrics="\x01" * MAX_METRICS))

        assert [live.metrics for live in reports.live()] == [""]

    def test_the_longest_metrics_come_back_whole(self, reports: Reports) -> None:
        reports.write(report(metrics="a 1\n" * (MAX_METRICS // 4)))

        assert [len(live.metrics) for live in reports.live()] == [MAX_METRICS]

    @pytest.mark.parametrize(
        "value",
        [
            b"no JSON",
            b"{}",
            b"[]",
            b"\xff\xfe",
            b"[" * 100_000,
            b"1",
            msgspec.json.encode(report(name="x" * 10_000)),
            msgspec.json.encode(report(pid=-1)),
            msgspec.json.encode(report(role="root")),
            msgspec.json.encode(report(progress_age_seconds=-1.0)),
            msgspec.json.encode(report(metrics="x" * (2 * MAX_METRICS))),
        ],
        ids=lambda value: repr(value[:30]),
    )
    def test_what_is_no_report_is_nobody_and_hides_nobody(
        self, value: bytes, reports: Reports, fake_redis: fakeredis.FakeRedis
    ) -> None:
        reports.write(report())
        reports.write(report(pid=8))
        fake_redis.set(KEY, value)

        assert [live.pid for live in reports.live()] == [8]

    def test_nor_does_a_key_of_another_type_or_an_entry_that_is_no_text(
        self, reports: Reports, fake_redis: fakeredis.FakeRedis
    ) -> None:
        reports.write(report())
        reports.write(report(pid=8))
        fake_redis.delete(KEY)
        fake_redis.rpush(KEY, "a list")
        fake_redis.zadd(INDEX, {b"\xff": 1.0})  # type: ignore[dict-item]

        assert [live.pid for live in reports.live()] == [8]


class FakeReports:
    """Reports that remember what was done; each `write` first does what the test laid down for it."""

    def __init__(self, *steps: Callable[[], object]) -> None:
        self.steps = list(steps)
        self.done: list[str] = []

    def write(self, _: ProcessReport) -> None:
        if self.steps:
            self.steps.pop(0)()
        self.done.append("write")

    def forget(self, _: ProcessReport) -> None:
        self.done.append("forget")


def away() -> None:
    raise redis.ConnectionError("away")


def broken() -> None:
    raise ZeroDivisionError


def well() -> None:
    """Let the write succeed."""


class TestReporter:
    def play(self, *steps: Callable[[], object]) -> tuple[FakeReports, list[Any]]:
        """Run a reporter in this thread through the steps; return what it did and what it logged."""
        reports = FakeReports(*steps)
        reporter = Reporter(reports, report)  # type: ignore[arg-type]
        remaining = list(steps)
        reporter._ended = SimpleNamespace(is_set=lambda: not remaining)  # type: ignore[assignment]
        reporter._woken = SimpleNamespace(  # type: ignore[assignment]
            wait=lambda _: remaining.pop(), clear=lambda: None
        )
        with capture_logs() as logs:
            reporter._run()
        return reports, logs

    def test_a_process_reports_again_and_again_and_is_forgotten_at_its_end(self) -> None:
        reports, logs = self.play(well, well, well)

        assert reports.done == ["write", "write", "write", "forget"]
        assert logs == []

    @pytest.mark.parametrize("failing", [away, broken])
    def test_an_outage_ends_nothing_and_is_logged_once(self, failing: Callable[[], None]) -> None:
        reports, logs = self.play(well, failing, failing, failing, well, failing, well)

        assert reports.done == ["write"] * 3 + ["forget"]
        assert [entry["event"] for entry in logs] == ["report_failed"] * 2

    def test_the_first_report_is_written_at_once_and_closing_removes_it(
        self, reports: Reports, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written = threading.Event()
        write = reports.write
        monkeypatch.setattr(reports, "write", lambda one: (write(one), written.set()))

        with Reporter(reports, report):
            assert written.wait(60)
            alive = reports.live()

        assert [live.name for live in alive] == ["gpu0@host"]
        assert reports.live() == []

    def test_one_that_is_woken_reports_without_waiting(
        self, reports: Reports, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        written: queue.SimpleQueue[ProcessReport] = queue.SimpleQueue()
        monkeypatch.setattr(reports, "write", written.put)
        monkeypatch.setattr(module, "REPORT_SECONDS", 3_600)

        with Reporter(reports, report) as reporter:
            written.get(timeout=60)
            reporter.wake()
            written.get(timeout=60)

    def test_one_that_never_started_closes(self, reports: Reports) -> None:
        reporter = Reporter(reports, report)
        reporter.close()
        reporter.close()

    def test_a_process_is_told_of_with_its_own_id_and_what_changes(
        self, settings: Settings, fake_redis: fakeredis.FakeRedis, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(module, "make_redis", lambda settings, retries: fake_redis)
        ages = iter((1.0, 2.0))
        reporter = make_reporter(
            settings, "worker", "n" * 1_000, "cpu", lambda: {"progress_age_seconds": next(ages)}
        )

        first, second = reporter._make_report(), reporter._make_report()
        reporter._reports.write(second)

        assert (first.progress_age_seconds, second.progress_age_seconds) == (1.0, 2.0)
        assert first.started_at == second.started_at
        [live] = Reports(fake_redis, "trace-ocr").live()
        assert (live.pid, live.role, live.device) == (module.os.getpid(), "worker", "cpu")
