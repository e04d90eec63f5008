"""What is shown of a job besides its record: its place in the line, its end with live workers, its words."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import tzinfo

from contract.broker.ledger import Ledger
from contract.broker.reports import Reports
from contract.job_status import JobStatus
from contract.tenants import Tenant
from producer.control.attention import attention, state_text
from producer.control.headline import headline
from producer.control.surroundings import Surroundings, look_around
from producer.results.projection import with_projection
from producer.results.status import NO_WORKER, with_wait


def with_live(
    status: JobStatus,
    reports: Reports,
    ledger: Ledger,
    tenants: Mapping[str, Tenant],
    no_worker: str = NO_WORKER,
) -> JobStatus:
    """Return the status with what only the other processes know, and with what it waits for.

    Args:
        no_worker: as for `with_wait`
    """
    around = look_around(reports, ledger, tenants)
    shown = with_words(status, around)
    return shown if shown.ended else with_wait(shown, list(around.workers.values()), no_worker)


def judged(status: JobStatus, around: Surroundings) -> JobStatus:
    """Return the status with its end with live workers, and with whether somebody should look at it."""
    if not status.ended:
        status = with_projection(status, around.workers.keys(), around.now)
    return replace(status, attention=attention(status, around))


def with_words(status: JobStatus, around: Surroundings, zone: tzinfo | None = None) -> JobStatus:
    """Return the status with its place in the line, judged, and in words.

    Args:
        zone: of the clock times in the headline; None for this machine's
    """
    shown = around.placed(judged(status, around))
    shown = replace(shown, state_text=state_text(shown, around))
    return replace(shown, headline=headline(shown, around, zone))
