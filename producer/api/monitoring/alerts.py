"""What is wrong now, in words: the rules of `deploy/monitoring/alerts.yml` that need no history.

Prometheus waits for some minutes before it notifies; the web UI shows an alert at once. What
needs rates over a quarter of an hour, such as the share of failed items, is Prometheus' alone.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from contract.broker.process_report import ProcessReport
from contract.durations import in_words
from contract.job_status import JobStatus
from contract.states import State
from contract.system_status import Alert, Severity
from producer.control.surroundings import trouble_of

STALLED_SECONDS = 900.0
"""Seconds without progress of a job, or since it failed, as in alerts.yml; a test compares these numbers."""

WAITING_SECONDS = 7_200.0
QUEUE_SECONDS = 21_600.0
LEASE_SECONDS = 180.0
DEVICE_SECONDS = 300.0
DEVICE_MEMORY = 0.95

SEVERITIES: tuple[Severity, ...] = ("critical", "warning")
"""The severities, worst first."""


@dataclass(frozen=True)
class Situation:
    """What the rules look at. Ages are in seconds, and `now` in Unix seconds.

    Args:
        reports: of the live processes
        expected_workers: 0 if that is not set
        held: messages held by workers
        jobs: those that have not ended, and those that failed
    """

    now: float
    storage: bool
    reports: Sequence[ProcessReport]
    expected_workers: int
    held: int
    oldest_message: float
    oldest_lease: float
    items_per_second: float
    jobs: Sequence[JobStatus] = ()

    @property
    def workers(self) -> list[ProcessReport]:
        """The live workers."""
        return [report for report in self.reports if report.role == "worker"]


REDIS_AWAY = Alert(
    "TraceOcrRedisAway", "critical", "Redis does not answer: no chunk is handed out. Start Redis again."
)
"""The alert of a system of which nothing else is known."""


def alerts_of(now: Situation) -> tuple[Alert, ...]:
    """Return what is wrong, worst first."""
    found = [*_processes(now), *_jobs(now), *_devices(now), *_queues(now)]
    return tuple(sorted(found, key=lambda alert: SEVERITIES.index(alert.severity)))


def _processes(now: Situation) -> Iterator[Alert]:
    workers, controls = len(now.workers), sum(report.role == "control" for report in now.reports)
    if not now.storage:
        text = "Storage cannot be read: see /health for which root. Chunks are sent again until it is back."
        yield Alert("TraceOcrStorageAway", "critical", text)
    if not workers:
        text = "No worker is alive: jobs make no progress, and uploads are refused. Start workers."
        yield Alert("TraceOcrNoWorker", "critical", text)
    elif workers < now.expected_workers:
        text = f"{workers} of {now.expected_workers} workers are alive: the others' launchers log why."
        yield Alert("TraceOcrWorkersMissing", "warning", text)
    if not controls:
        text = "No control process is alive: jobs are neither planned nor merged. Start trace-ocr control."
        yield Alert("TraceOcrNoControl", "critical", text)


def _jobs(now: Situation) -> Iterator[Alert]:
    moves = now.items_per_second > 0 or (now.held > 0 and now.oldest_lease < LEASE_SECONDS)
    for job in now.jobs:
        if job.failed_at is not None and now.now - job.failed_at < STALLED_SECONDS:
            yield Alert("TraceOcrJobFailed", "warning", f"Job {job.id} failed: {job.error}", job.id)
        if job.ended or job.status is State.PAUSED:
            continue
        idle = now.now - job.updated_at
        if idle > STALLED_SECONDS and not moves:
            text = f"Job {job.id} has not moved for {in_words(idle)}, and no other job has."
            yield Alert("TraceOcrJobStalled", "critical", text, job.id)
        elif idle > WAITING_SECONDS:
            text = f"Job {job.id} has not moved for {in_words(idle)}: add workers, or see control's log."
            yield Alert("TraceOcrJobWaiting", "warning", text, job.id)
        trouble = trouble_of(job.id, now.workers)
        if trouble:
            text = f"Chunks of job {job.id} fail and are sent again: {trouble.error}"
            yield Alert("TraceOcrChunksDroppedForResend", "warning", text, job.id)
        if job.at_risk:
            text = f"Job {job.id} will miss its deadline: add workers, or pause jobs that can wait."
            yield Alert("TraceOcrJobAtRisk", "warning", text, job.id)


def _devices(now: Situation) -> Iterator[Alert]:
    for worker in now.workers:
        if worker.progress_age_seconds > DEVICE_SECONDS:
            age = in_words(worker.progress_age_seconds)
            text = f"{worker.name} holds a chunk that has not moved for {age}."
            yield Alert("TraceOcrDeviceNotMoving", "warning", text)
        used, total = worker.memory_used, worker.memory_total
        if used and total and used / total > DEVICE_MEMORY:
            text = f"The GPU of {worker.name} is {used / total:.0%} full: the next batch may not fit."
            yield Alert("TraceOcrDeviceMemory", "warning", text)


def _queues(now: Situation) -> Iterator[Alert]:
    if now.oldest_message > QUEUE_SECONDS:
        text = f"A chunk has waited for {in_words(now.oldest_message)}: add workers if this was not expected."
        yield Alert("TraceOcrQueueOld", "warning", text)
    if now.oldest_lease > LEASE_SECONDS:
        age = in_words(now.oldest_lease)
        text = f"A chunk's lease was not renewed for {age}, and no worker took it over."
        yield Alert("TraceOcrLeaseNotRenewed", "warning", text)
