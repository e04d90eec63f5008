"""The system in figures, and what is wrong with it in words."""

import json
from collections.abc import Callable
from typing import Any

import fakeredis
import pytest

from contract.broker.ledger import Ledger
from contract.broker.process_report import ProcessReport, Trouble
from contract.broker.reports import Reports
from contract.broker.uploads import Uploads
from contract.job_status import ChunkCounts, JobStatus, RequestCounts
from contract.settings import Settings
from contract.states import State
from contract.system_status import SystemStatus
from producer.api.monitoring import alerts
from producer.api.monitoring.alerts import Situation, alerts_of
from producer.api.monitoring.storage_watch import StorageWatch
from producer.api.monitoring.system import KEPT_SECONDS, SystemWatch


def report(name: str, role: Any = "worker", **fields: Any) -> ProcessReport:
    return ProcessReport(name, role, 1, "a", "cpu", 1.0, 1_000.0, **fields)


def job(**fields: Any) -> JobStatus:
    """A job that moved just now."""
    given: dict[str, Any] = {"status": State.IN_PROGRESS, "updated_at": 1_000_000.0, **fields}
    counts = RequestCounts(10, 1, 0), ChunkCounts(2, 0)
    return JobStatus(
        "night",
        kind="recognition",
        source="/data",
        workspace="/out",
        request_counts=counts[0],
        chunks=counts[1],
        planning=False,
        created_at=1.0,
        items_per_second=None,
        eta_seconds=None,
        **given,
    )


def situation(**fields: Any) -> Situation:
    """A system in which all is well."""
    given: dict[str, Any] = {
        "now": 1_000_000.0,
        "storage": True,
        "reports": [report("cpu@a"), report("control@a", "control")],
        "expected_workers": 0,
        "held": 0,
        "oldest_message": 0.0,
        "oldest_lease": 0.0,
        "items_per_second": 0.0,
        "jobs": [job()],
    }
    return Situation(**{**given, **fields})


def failing(runs: int) -> list[ProcessReport]:
    """A worker whose newest runs of the job's chunks found a full disk, and control."""
    trouble = Trouble("night", "/out/parts: No space left on device", runs)
    return [report("cpu@a", troubles=(trouble,)), report("control@a", "control")]


class TestAlerts:
    def test_a_system_that_is_well_has_none(self) -> None:
        assert alerts_of(situation()) == ()

    @pytest.mark.parametrize(
        ("fields", "names"),
        [
            ({"storage": False}, ["StorageAway"]),
            ({"reports": [report("control@a", "control")]}, ["NoWorker"]),
            ({"reports": [report("cpu@a")]}, ["NoControl"]),
            ({"expected_workers": 2}, ["WorkersMissing"]),
            ({"expected_workers": 1}, []),
            ({"oldest_message": alerts.QUEUE_SECONDS + 1}, ["QueueOld"]),
            ({"oldest_lease": alerts.LEASE_SECONDS + 1}, ["LeaseNotRenewed"]),
        ],
    )
    def test_of_the_system(self, fields: dict[str, Any], names: list[str]) -> None:
        assert [alert.name.removeprefix("TraceOcr") for alert in alerts_of(situation(**fields))] == names

    @pytest.mark.parametrize(
        ("of_job", "fields", "names"),
        [
            ({"updated_at": 0.0}, {}, ["JobStalled"]),
            # Another job moves, or a worker holds a chunk and renews its lease: this one waits.
            ({"updated_at": 999_000.0}, {"items_per_second": 5.0}, []),
            ({"updated_at": 999_000.0}, {"held": 1, "oldest_lease": 10.0}, []),
            ({"updated_at": 0.0}, {"items_per_second": 5.0}, ["JobWaiting"]),
            ({"updated_at": 0.0, "status": State.PAUSED}, {}, []),
            ({"at_risk": True}, {}, ["JobAtRisk"]),
            ({}, {"reports": failing(2)}, ["ChunksDroppedForResend"]),
            ({}, {"reports": failing(1)}, []),
            ({"status": State.FAILED, "failed_at": 999_990.0}, {}, ["JobFailed"]),
            ({"status": State.FAILED, "failed_at": 1.0, "updated_at": 1.0}, {}, []),
            ({"status": State.COMPLETED, "updated_at": 1.0}, {}, []),
        ],
    )
    def test_of_a_job(self, of_job: dict[str, Any], fields: dict[str, Any], names: list[str]) -> None:
        found = alerts_of(situation(jobs=[job(**of_job)], **fields))

        assert [alert.name.removeprefix("TraceOcr") for alert in found] == names
        assert all(alert.job == "night" and "night" in alert.text for alert in found)

    @pytest.mark.parametrize(
        ("fields", "name"),
        [
            ({"progress_age_seconds": alerts.DEVICE_SECONDS + 1}, "TraceOcrDeviceNotMoving"),
            ({"memory_used": 96, "memory_total": 100}, "TraceOcrDeviceMemory"),
        ],
    )
    def test_of_a_device(self, fields: dict[str, Any], name: str) -> None:
        reports = [report("gpu3@b", **fields), report("control@a", "control")]

        [alert] = alerts_of(situation(reports=reports))

        assert (alert.name, alert.severity) == (name, "warning")
        assert "gpu3@b" in alert.text

    def test_the_worst_come_first(self) -> None:
        found = alerts_of(situation(reports=[report("control@a", "control")], jobs=[job(at_risk=True)]))

        assert [alert.severity for alert in found] == ["critical", "warning"]


class TestFigures:
    @pytest.fixture
    def jobs(self) -> list[JobStatus]:
        return []

    @pytest.fixture
    def watch(
        self,
        settings: Settings,
        fake_redis: fakeredis.FakeRedis,
        ledger: Ledger,
        uploads: Uploads,
        clock: Any,
        jobs: list[JobStatus],
    ) -> SystemWatch:
        changed = settings.model_copy(update={"expected_workers": 3, "flower_url": "https://flower"})
        reports = Reports(fake_redis, "trace-ocr", clock)
        reports.write(report("cpu@a", items_per_second=10.0, work="recognition crnn", pace=10.0))
        reports.write(report("cpu@b", items_per_second=2.0, work="recognition crnn", pace=2.0))
        reports.write(report("control@a", "control"))
        storage = StorageWatch(lambda: True)
        return SystemWatch(
            fake_redis, changed, ledger, reports, uploads, storage, jobs=lambda: jobs, clock=clock
        )

    @pytest.fixture
    def look(self, watch: SystemWatch) -> Callable[[], SystemStatus]:
        return lambda: watch.status(lambda job: True)

    def test_are_those_of_redis(
        self,
        look: Callable[[], SystemStatus],
        fake_redis: fakeredis.FakeRedis,
        ledger: Ledger,
        clock: Any,
    ) -> None:
        fake_redis.lpush(
            "trace-ocr.urgent", *(json.dumps({"headers": {"sent_at": clock.now - 40}}) for _ in range(2))
        )
        fake_redis.hset("unacked", "tag", "[{}]")
        fake_redis.rpush("trace-ocr:uploads:recognition", "a", "b", "c")
        ledger.open("night", "/out", "recognition", "/data", 1)
        ledger.planned("night", 5, 10)
        ledger.ready("night", 5)

        seen = look()

        assert (seen.redis, seen.at) == (True, clock.now)
        [urgent] = [queue for queue in seen.queues if queue.messages]
        assert (urgent.name, urgent.messages, urgent.oldest_seconds) == ("urgent", 2, 40)
        assert (seen.waiting, seen.held, seen.in_line, seen.uploads_waiting) == (2, 1, 5, 3)
        assert seen.oldest_seconds == 40
        assert (seen.workers_alive, seen.workers_expected, seen.workers_slow) == (2, 3, 1)
        assert (seen.controls_alive, seen.items_per_second) == (1, 12)
        assert seen.flower_url == "https://flower"
        assert seen.alert == seen.alerts[0]
        assert seen.alert.name == "TraceOcrWorkersMissing"

    def test_are_looked_at_once_however_many_ask(
        self,
        watch: SystemWatch,
        look: Callable[[], SystemStatus],
        monkeypatch: pytest.MonkeyPatch,
        clock: Any,
    ) -> None:
        looks: list[int] = []
        live = watch.reports.live
        monkeypatch.setattr(watch.reports, "live", lambda: (looks.append(1), live())[1])

        for _ in range(5):
            look()
        assert len(looks) == 1
        clock.now += KEPT_SECONDS
        look()
        assert len(looks) == 2

    def test_without_redis_only_that_is_known(
        self, look: Callable[[], SystemStatus], fake_server: fakeredis.FakeServer
    ) -> None:
        fake_server.connected = False

        seen = look()

        assert (seen.redis, seen.waiting, seen.workers_alive) == (False, None, None)
        assert seen.alert is not None
        assert seen.alert.name == "TraceOcrRedisAway"

    def test_alerts_of_jobs_are_shown_to_those_who_may_see_the_job(
        self, watch: SystemWatch, jobs: list[JobStatus], clock: Any
    ) -> None:
        jobs.append(job(at_risk=True, updated_at=clock.now))

        ours, theirs = watch.status(lambda job: True), watch.status(lambda job: False)

        assert [alert.job for alert in ours.alerts] == [None, "night"]
        assert [alert.job for alert in theirs.alerts] == [None]
