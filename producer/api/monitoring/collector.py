"""Metrics of the whole system: queues, jobs and processes, read from Redis at each scrape."""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import asdict

import redis
import structlog
from prometheus_client.metrics_core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from contract.broker.depths import oldest_lease_age, queue_depths, unacked_messages
from contract.broker.ledger import Ledger
from contract.broker.process_report import ProcessReport
from contract.broker.reports import Reports
from contract.broker.uploads import Uploads
from contract.job_status import JobStatus
from contract.settings import Settings
from contract.states import ENDED, State
from producer.api.monitoring.relayed import labels_of, relay
from producer.api.monitoring.storage_watch import StorageWatch
from producer.results.status import status_of

MAX_JOBS = 200
"""Maximum number of jobs with their own samples; jobs that have not ended come first, newest first."""

Labels = tuple[str, ...]


class SystemCollector(Collector):
    """Collects queues, jobs and processes from Redis at each scrape. Never raises.

    Args:
        others: returns other families of the same registry, whose names workers must not use
        clock: returns the time in Unix seconds
    """

    def __init__(
        self,
        client: redis.Redis,
        settings: Settings,
        ledger: Ledger,
        reports: Reports,
        uploads: Uploads,
        storage: StorageWatch | None = None,
        others: Callable[[], Iterable[Metric]] = tuple,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._client, self._settings = client, settings
        self._ledger, self._reports, self._uploads = ledger, reports, uploads
        self._storage, self._others, self._clock = storage, others, clock

    def collect(self) -> list[Metric]:
        """Return all families; while Redis is unavailable, only `trace_ocr_up`."""
        up: dict[Labels, float] = {("redis",): 1.0}
        families: list[Metric] = []
        try:
            families = self._families()
        except redis.RedisError as error:
            structlog.get_logger().warning("redis_away", error=str(error))
            up[("redis",)] = 0.0
        # Any exception: Redis answers, but holds unexpected data; return the rest of the scrape.
        except Exception:
            structlog.get_logger().exception("metrics_not_gathered")
        if self._storage:
            up[("storage",)] = float(self._storage.up())
        return [*families, _gauge("trace_ocr_up", "Whether a component answers.", up, "component")]

    def _families(self) -> list[Metric]:
        live = self._reports.live()
        workers = [report for report in live if report.role == "worker"]
        own = [*self._queues(), *self._jobs({one.name for one in workers}), *_processes(live)]
        if expected := self._settings.expected_workers:
            documentation = "Workers that should be alive."
            own.append(_gauge("trace_ocr_workers_expected", documentation, {(): expected}))
        return own + relay(workers, [*own, *self._others(), Metric("trace_ocr_up", "", "gauge")])

    def _queues(self) -> Iterator[Metric]:
        client, now = self._client, self._clock()
        depths, unacked = queue_depths(client, self._settings.namespace, now), unacked_messages(client)
        yield _gauge(
            "trace_ocr_queue_messages",
            "Messages waiting in the queue.",
            {(depth.name,): depth.messages for depth in depths},
            "queue",
        )
        for name, documentation, value in (
            ("unacked_messages", "Messages held by workers, not acked yet.", unacked),
            (
                "queue_depth",
                "Messages waiting or held by workers.",
                sum(depth.messages for depth in depths) + unacked,
            ),
            (
                "chunks_in_line",
                "Chunks that control has still to send.",
                sum(standing.unsent for standing in self._ledger.line()),
            ),
            (
                "oldest_message_age_seconds",
                "Seconds that the oldest message has waited; 0 if no message waits.",
                max(depth.oldest_seconds for depth in depths),
            ),
            (
                "oldest_lease_age_seconds",
                "Seconds since the oldest lease was renewed; 0 if no chunk is leased.",
                oldest_lease_age(client, now),
            ),
            ("uploads_waiting", "Uploaded files waiting for a worker.", self._uploads.waiting()),
        ):
            yield _gauge("trace_ocr_" + name, documentation, {(): value})

    def _jobs(self, live: Collection[str]) -> Iterator[Metric]:
        statuses = self._ledger.statuses()
        counts = Counter(statuses.values())
        yield _gauge(
            "trace_ocr_jobs",
            "Jobs in Redis.",
            {(status,): count for status, count in sorted(counts.items())},
            "status",
        )
        shown = sorted(statuses, key=lambda job: statuses[job] in ENDED)[:MAX_JOBS]
        progresses = [progress for progress in map(self._ledger.load, shown) if progress]
        now = self._clock()
        yield _gauge(
            "trace_ocr_job_idle_seconds",
            "Seconds since a job last progressed, unless it has ended or is paused.",
            {
                (progress.job,): max(0.0, now - progress.updated_at)
                for progress in progresses
                if progress.status not in ENDED and progress.status is not State.PAUSED
            },
            "job",
        )
        found = [status_of(progress, live) for progress in progresses]
        items: dict[Labels, float] = {
            (status.id, outcome): count
            for status in found
            for outcome, count in asdict(status.request_counts).items()
        }
        yield _gauge("trace_ocr_job_items", "Items of a job.", items, "job", "outcome")
        yield from _deadlines([job for job in found if job.deadline is not None and not job.ended])


def _deadlines(due: list[JobStatus]) -> Iterator[Metric]:
    yield _gauge(
        "trace_ocr_job_deadline_margin_seconds",
        "Seconds from a job's projected end to its deadline; missing while its end is not known.",
        {(job.id,): job.margin_seconds for job in due if job.margin_seconds is not None},
        "job",
    )
    yield _gauge(
        "trace_ocr_job_at_risk",
        "Whether a job will miss its deadline, or nothing works on it.",
        {(job.id,): float(job.at_risk) for job in due},
        "job",
    )


def _processes(live: list[ProcessReport]) -> Iterator[Metric]:
    roles = Counter(report.role for report in live)
    yield _gauge(
        "trace_ocr_processes",
        "Live processes.",
        {(role,): roles[role] for role in ("worker", "control")},
        "role",
    )
    workers = labels_of(report for report in live if report.role == "worker")
    yield _gauge(
        "trace_ocr_worker_progress_age_seconds",
        "Seconds since a worker's running chunk progressed; 0 if no chunk runs.",
        {(label,): worker.progress_age_seconds for label, worker in workers.items()},
        "worker",
    )


def _gauge(name: str, documentation: str, values: dict[Labels, float], *labels: str) -> Metric:
    family = GaugeMetricFamily(name, documentation, labels=labels)
    for of_sample, value in values.items():
        family.add_metric(of_sample, value)
    return family
