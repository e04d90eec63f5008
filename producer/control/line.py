"""What is shown of a job besides its record: its place in the line, and when it ends with live workers."""

import time
from collections.abc import Mapping
from dataclasses import replace

from contract.broker.ledger import Ledger
from contract.broker.reports import Reports
from contract.job_status import JobStatus
from contract.tenants import Tenant
from producer.control.shares import place_of
from producer.results.projection import with_projection
from producer.results.status import NO_WORKER, waits, with_wait


def with_live(
    status: JobStatus,
    reports: Reports,
    ledger: Ledger,
    tenants: Mapping[str, Tenant],
    no_worker: str = NO_WORKER,
) -> JobStatus:
    """Return the status with the job's place in the line, its projected end with the workers that are alive
    if it has a deadline, and what it waits for before its first item is read.

    Args:
        no_worker: as for `with_wait`
    """
    if status.ended:
        return status
    status = replace(status, line=place_of(status.id, ledger.line(), tenants))
    if status.deadline is None and not waits(status):
        return status
    live = reports.live("worker")
    status = with_projection(status, {one.name for one in live}, time.time())
    return with_wait(status, live, no_worker)
