"""What surrounds a job: the processes that are alive, and the jobs in the line."""

import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

from contract.broker.ledger import Ledger
from contract.broker.line import Standing
from contract.broker.process_report import ProcessReport, Trouble
from contract.broker.reports import Reports
from contract.job_status import JobStatus
from contract.tenants import Tenant
from producer.control.paces import slow_names
from producer.control.shares import place_of

REPEATED = 2
"""Runs in a row without a part from which on a job is in trouble: one may be a moment's outage."""


@dataclass(frozen=True)
class Surroundings:
    """What one look has found.

    Args:
        now: Unix seconds
        reports: of the live processes
        line: the jobs with chunks that control has still to send
    """

    now: float
    reports: Sequence[ProcessReport] = ()
    line: Sequence[Standing] = ()
    tenants: Mapping[str, Tenant] = field(default_factory=dict)

    @cached_property
    def workers(self) -> dict[str, ProcessReport]:
        """The live workers by name."""
        return {report.name: report for report in self.reports if report.role == "worker"}

    @cached_property
    def has_control(self) -> bool:
        """Whether a control process is alive."""
        return any(report.role == "control" for report in self.reports)

    @cached_property
    def slow(self) -> frozenset[str]:
        """The names of the workers that are slow beside the others."""
        return frozenset(slow_names(self.reports))

    @cached_property
    def held(self) -> frozenset[str]:
        """The jobs of which a worker has a chunk in hand."""
        return frozenset(one.job for report in self.workers.values() for one in report.in_hand)

    def trouble_of(self, job: str) -> Trouble | None:
        """Return why chunks of a job end without a part again and again; None if they do not."""
        return trouble_of(job, self.workers.values())

    def placed(self, status: JobStatus) -> JobStatus:
        """Return the status of a job with its place in the line."""
        return status if status.ended else replace(status, line=place_of(status.id, self.line, self.tenants))


def trouble_of(job: str, workers: Iterable[ProcessReport]) -> Trouble | None:
    """Return why chunks of a job end without a part again and again; None if they do not."""
    told = (trouble for worker in workers for trouble in worker.troubles)
    return next((one for one in told if one.job == job and one.runs >= REPEATED), None)


def look_around(reports: Reports, ledger: Ledger, tenants: Mapping[str, Tenant]) -> Surroundings:
    """Return what surrounds the jobs now."""
    return Surroundings(time.time(), reports.live(), ledger.line(), tenants)
