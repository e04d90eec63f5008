"""What `/metrics` shows: the system's state in Redis, every worker's metrics, and the answered uploads."""

import json
from typing import Any

import fakeredis
import pytest
from fastapi import FastAPI, HTTPException
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from structlog.testing import capture_logs

from contract.broker.ledger import Ledger
from contract.broker.process_report import ProcessReport
from contract.broker.reports import Reports
from contract.broker.uploads import Uploads
from contract.kinds import KINDS
from contract.records import PartOutcome
from contract.settings import Settings
from producer.api.monitoring.metrics import ApiMetrics, UploadCounter
from producer.api.monitoring.relayed import MAX_LABEL, MAX_LINE, MAX_SAMPLES
from producer.api.monitoring.storage_watch import StorageWatch

Values = dict[tuple[str, ...], float]
QUEUE = "trace-ocr.recognition"


def values_of(text: bytes, name: str) -> Values:
    """Return the samples of one name by their labels' values, in the labels' alphabetical order."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if sample.name == name
    }


def worker(name: str = "gpu0@host", metrics: str = "", **fields: Any) -> ProcessReport:
    given: dict[str, Any] = {"role": "worker", "pid": 1, "started_at": 1.0, **fields}
    return ProcessReport(name=name, metrics=metrics, host="host", device="gpu0", seen_at=1.0, **given)


@pytest.fixture
def reports(fake_redis: fakeredis.FakeRedis, clock: Any) -> Reports:
    return Reports(fake_redis, "trace-ocr", clock)


@pytest.fixture
def metrics(
    settings: Settings,
    fake_redis: fakeredis.FakeRedis,
    ledger: Ledger,
    reports: Reports,
    uploads: Uploads,
    clock: Any,
) -> ApiMetrics:
    return ApiMetrics(fake_redis, settings, ledger, reports, uploads, StorageWatch(lambda: True), clock)


class TestQueues:
    def test_messages_that_wait_and_messages_that_are_held(
        self, metrics: ApiMetrics, fake_redis: fakeredis.FakeRedis, clock: Any
    ) -> None:
        for sent_at in (clock.now - 40, clock.now - 10):
            fake_redis.lpush(QUEUE, json.dumps({"headers": {"sent_at": sent_at}}))
        fake_redis.hset("unacked", "tag", "[{}]")
        fake_redis.zadd("unacked_index", {"tag": clock.now - 25})
        fake_redis.rpush("trace-ocr:uploads:recognition", "a", "b", "c")

        text = metrics.exposition()

        queued = values_of(text, "trace_ocr_queue_messages")
        assert (queued[(QUEUE,)], queued[("trace-ocr.urgent",)]) == (2.0, 0.0)
        for name, value in (
            ("unacked_messages", 1),
            ("queue_depth", 3),
            ("oldest_message_age_seconds", 40),
            ("oldest_lease_age_seconds", 25),
            ("uploads_waiting", 3),
        ):
            assert values_of(text, f"trace_ocr_{name}") == {(): value}, name

    def test_an_empty_redis_is_all_zeros(self, metrics: ApiMetrics) -> None:
        text = metrics.exposition()

        assert values_of(text, "trace_ocr_queue_depth") == {(): 0.0}
        assert values_of(text, "trace_ocr_oldest_message_age_seconds") == {(): 0.0}
        assert values_of(text, "trace_ocr_processes") == {("worker",): 0.0, ("control",): 0.0}
        assert values_of(text, "trace_ocr_jobs") == {}


class TestJobs:
    @pytest.fixture
    def jobs(self, ledger: Ledger, clock: Any) -> None:
        """Given a running job that last progressed 30 s ago, a paused job and a failed job."""
        for name, status in (("runs", ""), ("waits", "paused"), ("failed", "failed")):
            ledger.open(name, f"/data/{name}", "recognition", "/data/crops", 1_000)
            ledger.plan_done(name, 3, 5)
            if status:
                (ledger.hold if status == "paused" else _fail(ledger))(name, status)
        clock.now += 100
        ledger.mark("runs", 0, PartOutcome(1, 1))
        clock.now += 30

    @pytest.mark.usefixtures("jobs")
    def test_jobs_by_status_with_their_items(self, metrics: ApiMetrics) -> None:
        text = metrics.exposition()

        assert values_of(text, "trace_ocr_jobs") == {
            ("in_progress",): 1.0,
            ("paused",): 1.0,
            ("failed",): 1.0,
        }
        items = values_of(text, "trace_ocr_job_items")
        assert {outcome: items["runs", outcome] for outcome in ("total", "completed", "failed")} == {
            "total": 5.0,
            "completed": 1.0,
            "failed": 1.0,
        }

    def test_jobs_with_a_deadline_tell_their_margin_once_their_pace_is_known(
        self,
        metrics: ApiMetrics,
        reports: Reports,
        ledger: Ledger,
        clock: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("producer.results.status.time.time", clock)
        for name, deadline in (("due", "1500"), ("new", "2000"), ("ended", "1500")):
            ledger.open(name, f"/data/{name}", "recognition", "s", 1_000, order={"deadline": deadline})
            ledger.plan_done(name, 10, 100)
        _fail(ledger)("ended", "failed")
        reports.write(ProcessReport("gpu0@a", "worker", 1, "a", "cpu", 1.0, 1.0))
        for chunk in range(3):
            ledger.mark("due", chunk, PartOutcome(10, 0), worker="gpu0@a")
            clock.now += 10
        clock.now -= 10
        reports.write(ProcessReport("gpu0@a", "worker", 1, "a", "cpu", 1.0, 1.0))
        text = metrics.exposition()

        # 70 items at one a second, from 1,020 on
        assert values_of(text, "trace_ocr_job_deadline_margin_seconds") == {("due",): 410.0}
        assert values_of(text, "trace_ocr_job_at_risk") == {("due",): 0.0, ("new",): 0.0}

    @pytest.mark.usefixtures("jobs")
    def test_only_a_job_that_should_run_can_be_idle(self, metrics: ApiMetrics) -> None:
        assert values_of(metrics.exposition(), "trace_ocr_job_idle_seconds") == {("runs",): 30.0}

    def test_a_job_in_planning_counts_its_planned_items(self, metrics: ApiMetrics, ledger: Ledger) -> None:
        ledger.open("new", "/data/new", "recognition", "/data/crops", 1_000)
        ledger.planned("new", 2, 7)

        assert values_of(metrics.exposition(), "trace_ocr_job_items")["new", "total"] == 7.0

    @pytest.mark.usefixtures("jobs")
    def test_a_damaged_record_hides_its_own_job_only(
        self, metrics: ApiMetrics, fake_redis: fakeredis.FakeRedis
    ) -> None:
        fake_redis.hset("trace-ocr:job:failed", "completed", "many")
        fake_redis.hdel("trace-ocr:job:waits", "workspace")

        assert {job for job, _ in values_of(metrics.exposition(), "trace_ocr_job_items")} == {"runs"}

    def test_of_many_jobs_those_that_have_not_ended_are_shown_first(
        self, metrics: ApiMetrics, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("producer.api.monitoring.collector.MAX_JOBS", 2)
        for number, name in enumerate(("runs", "ended", "newest")):
            ledger.open(name, f"/data/{name}", "recognition", "/data/crops", 1_000 + number)
        _fail(ledger)("ended", "failed")
        text = metrics.exposition()

        assert {job for job, _ in values_of(text, "trace_ocr_job_items")} == {"runs", "newest"}
        assert sum(values_of(text, "trace_ocr_jobs").values()) == 3


def _fail(ledger: Ledger) -> Any:
    return lambda job, status: ledger.finish(job, status, 60.0)


class TestProcesses:
    def test_live_processes_and_the_time_since_their_chunks_progressed(
        self, metrics: ApiMetrics, reports: Reports
    ) -> None:
        reports.write(worker("gpu0@host", progress_age_seconds=12.5))
        reports.write(worker("gpu1@host"))
        reports.write(worker("control@host", role="control"))
        text = metrics.exposition()

        assert values_of(text, "trace_ocr_processes") == {("worker",): 2.0, ("control",): 1.0}
        assert values_of(text, "trace_ocr_worker_progress_age_seconds") == {
            ("gpu0@host",): 12.5,
            ("gpu1@host",): 0.0,
        }

    def test_workers_metrics_are_shown_under_their_names_in_one_family(
        self, metrics: ApiMetrics, reports: Reports
    ) -> None:
        for name, count in (("gpu0@host", 3), ("gpu1@host", 4)):
            own = f'trace_ocr_items_total{{kind="recognition",outcome="completed"}} {count}'
            reports.write(worker(name, f"# TYPE trace_ocr_items_total counter\n{own}\n"))

        text = metrics.exposition()

        assert values_of(text, "trace_ocr_items_total") == {
            ("recognition", "completed", "gpu0@host"): 3.0,
            ("recognition", "completed", "gpu1@host"): 4.0,
        }
        assert text.count(b"# TYPE trace_ocr_items_total counter") == 1

    def test_two_processes_of_one_name_are_distinguished_and_the_newest_has_the_name(
        self, metrics: ApiMetrics, reports: Reports
    ) -> None:
        # given a killed worker's last report, and its successor's
        for pid, started_at in ((1, 10.0), (2, 20.0)):
            text = f"# TYPE trace_ocr_batches_total counter\ntrace_ocr_batches_total {pid}\n"
            reports.write(worker("cpu@host", text, pid=pid, started_at=started_at))

        text_ = metrics.exposition()

        assert values_of(text_, "trace_ocr_batches_total") == {("cpu@host",): 2.0, ("cpu@host#1",): 1.0}

    def test_a_histogram_is_shown_completely(self, metrics: ApiMetrics, reports: Reports) -> None:
        own = (
            "# TYPE trace_ocr_x_seconds histogram\n"
            'trace_ocr_x_seconds_bucket{le="1.0"} 1\ntrace_ocr_x_seconds_bucket{le="+Inf"} 2\n'
            "trace_ocr_x_seconds_count 2\ntrace_ocr_x_seconds_sum 3\n"
        )
        reports.write(worker(metrics=own))
        text = metrics.exposition()

        assert values_of(text, "trace_ocr_x_seconds_bucket") == {
            ("1.0", "gpu0@host"): 1.0,
            ("+Inf", "gpu0@host"): 2.0,
        }
        assert values_of(text, "trace_ocr_x_seconds_sum") == {("gpu0@host",): 3.0}


class TestStrangeTexts:
    """A worker's text comes from another process: the scrape stays valid with any text in it."""

    @pytest.fixture
    def relayed(self, metrics: ApiMetrics, reports: Reports) -> Any:
        """Return the scrape after one worker reported the text; a second one reports as it should."""

        def report(text: str) -> bytes:
            reports.write(worker("strange@host", text))
            reports.write(
                worker("good@host", "# TYPE trace_ocr_batches_total counter\ntrace_ocr_batches_total 7\n")
            )
            scrape = metrics.exposition()
            assert values_of(scrape, "trace_ocr_batches_total")["good@host",] == 7.0
            assert values_of(scrape, "trace_ocr_up")["redis",] == 1.0
            lines = [line.rsplit(" ", 1)[0] for line in scrape.decode().splitlines()]
            assert len(lines) == len(set(lines)), "a sample or a type is told twice"
            return scrape

        return report

    @pytest.mark.parametrize(
        "text",
        [
            "no metrics at all {",
            "# TYPE trace_ocr_x nonsense\ntrace_ocr_x 1\n",
            "trace_ocr_x one\n",
            "trace_ocr_x" + "y" * MAX_LINE + " 1\n",
            'trace_ocr_x{a="b} 1\n',
            "\x00\x01",
        ],
        ids=lambda text: text[:20],
    )
    def test_invalid_text_is_omitted(self, relayed: Any, text: str) -> None:
        assert b"strange@host" not in b"".join(
            line for line in relayed(text).splitlines() if b"progress_age" not in line
        )

    @pytest.mark.parametrize(
        "line",
        [
            "trace_ocr_up 0",
            'trace_ocr_up{component="redis"} 0',
            "trace_ocr_queue_depth 99",
            'trace_ocr_upload_requests_total{kind="ocr",status="200"} 99',
            'trace_ocr_upload_seconds_count{kind="ocr"} 99',
            'trace_ocr_processes{role="worker"} 99',
            "python_info 1",
            "up 1",
            "trace_ocr_x_created 1",
        ],
    )
    def test_workers_cannot_use_the_systems_names(self, relayed: Any, line: str) -> None:
        kind = "counter" if "_total" in line else "gauge"
        name = line.split("{")[0].split(" ")[0]

        scrape = relayed(f"# TYPE {name} {kind}\n{line}\n")

        assert not any("strange@host" in labels for labels in values_of(scrape, name))

    def test_a_duplicate_sample_is_shown_once(self, relayed: Any) -> None:
        scrape = relayed("# TYPE trace_ocr_x gauge\ntrace_ocr_x 1\ntrace_ocr_x 2\n" * 2)

        assert values_of(scrape, "trace_ocr_x") == {("strange@host",): 1.0}

    def test_a_family_of_another_type_than_the_others_is_omitted(self, relayed: Any) -> None:
        scrape = relayed("# TYPE trace_ocr_batches gauge\ntrace_ocr_batches 1\n")

        assert values_of(scrape, "trace_ocr_batches") == {}

    def test_a_label_called_worker_is_overwritten(self, relayed: Any) -> None:
        scrape = relayed('# TYPE trace_ocr_x gauge\ntrace_ocr_x{worker="good@host"} 1\n')

        assert values_of(scrape, "trace_ocr_x") == {("strange@host",): 1.0}

    @pytest.mark.parametrize(
        "sample",
        [f'trace_ocr_x{{a="{"b" * (MAX_LABEL + 1)}"}} 1', 'trace_ocr_x{"a b"="c"} 1', '{"trace_ocr_x"} 1'],
        ids=lambda text: text[:20],
    )
    def test_labels_are_short_and_well_named(self, relayed: Any, sample: str) -> None:
        scrape = relayed(f"# TYPE trace_ocr_x gauge\n{sample}\n")

        assert all(len(label) <= MAX_LABEL for labels in values_of(scrape, "trace_ocr_x") for label in labels)
        assert b"a_b" not in scrape

    def test_the_number_of_samples_is_limited(self, relayed: Any) -> None:
        lines = "\n".join(f'trace_ocr_x{{n="{n}"}} 1' for n in range(2 * MAX_SAMPLES))

        scrape = relayed(f"# TYPE trace_ocr_x gauge\n{lines}\n")

        assert len(values_of(scrape, "trace_ocr_x")) == MAX_SAMPLES

    def test_a_timestamp_is_not_relayed(self, relayed: Any) -> None:
        assert b"123456" not in relayed("# TYPE trace_ocr_x gauge\ntrace_ocr_x 1 123456\n")


class TestAway:
    def test_without_redis_only_trace_ocr_up_is_shown(
        self, metrics: ApiMetrics, fake_server: fakeredis.FakeServer
    ) -> None:
        fake_server.connected = False

        text = metrics.exposition()

        assert values_of(text, "trace_ocr_up") == {("redis",): 0.0, ("storage",): 1.0}
        assert b"trace_ocr_queue" not in text
        assert b"trace_ocr_jobs" not in text

    def test_an_unexpected_error_is_logged_and_does_not_raise(
        self, metrics: ApiMetrics, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail() -> None:
            raise ZeroDivisionError

        monkeypatch.setattr(ledger, "statuses", fail)

        with capture_logs() as logs:
            text = metrics.exposition()

        assert values_of(text, "trace_ocr_up")["redis",] == 1.0
        assert [entry["event"] for entry in logs] == ["metrics_not_gathered"]

    def test_without_a_check_storage_is_not_shown(
        self,
        settings: Settings,
        fake_redis: fakeredis.FakeRedis,
        ledger: Ledger,
        reports: Reports,
        uploads: Uploads,
    ) -> None:
        metrics = ApiMetrics(fake_redis, settings, ledger, reports, uploads)

        assert values_of(metrics.exposition(), "trace_ocr_up") == {("redis",): 1.0}


class TestUploads:
    @pytest.fixture
    def client(self, metrics: ApiMetrics) -> TestClient:
        """An application that answers uploads, with an error for one kind; it has one other route."""
        app = FastAPI()
        app.add_middleware(UploadCounter, metrics=metrics)

        @app.post("/recognition/")
        def recognition(wanted: int = 200) -> Any:
            with metrics.upload_timed("recognition"):
                if wanted != 200:
                    raise HTTPException(wanted)

        @app.get("/jobs")
        def jobs() -> None: ...

        return TestClient(app)

    def test_requests_are_counted_by_status_including_those_middleware_answers(
        self, client: TestClient, metrics: ApiMetrics
    ) -> None:
        for path in ("/recognition/", "/recognition/?wanted=429", "/recognition/?wanted=x", "/recognition/"):
            client.post(path)
        client.get("/jobs")
        client.post("/ocr/")

        text = metrics.exposition()

        counted = values_of(text, "trace_ocr_upload_requests_total")
        assert {labels: count for labels, count in counted.items() if count} == {
            ("recognition", "200"): 2.0,
            ("recognition", "429"): 1.0,
            ("recognition", "422"): 1.0,
            ("ocr", "404"): 1.0,
        }
        # Their growth from nothing starts workers where there are none: deploy/kubernetes/keda.
        assert {kind for kind, status in counted if status == "503"} == set(KINDS)
        assert values_of(text, "trace_ocr_upload_seconds_count") == {
            ("recognition",): 3.0,
            ("ocr",): 0.0,
            ("detection",): 0.0,
            ("kie",): 0.0,
            ("compare",): 0.0,
        }
