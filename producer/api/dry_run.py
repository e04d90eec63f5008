"""`POST /jobs?dry_run=true`: what a job would be; nothing is written."""

import io
import time

from contract.estimate import Estimate
from contract.workspace import Workspace
from producer.api.job_request import JobRequest
from producer.api.security.keys import ApiKey
from producer.api.services import Services
from producer.planning.estimate import estimate, extent_of
from producer.results.rates import nearby, past_rate

LISTING_SECONDS = 30.0
"""Seconds after which a listing is left: callers and proxies wait for a minute or so."""


def estimate_of(request: JobRequest, caller: ApiKey, services: Services) -> Estimate:
    """Return the estimate of the job that a request would submit.

    Raises:
        SourceError: the source cannot be listed
        TraceOcrError: as `Submission.submit`, for what is wrong with the request itself
    """
    job, location = services.submission.described(request, caller)
    measured = job.source.model_copy(update={"changed": job.source.changed or "mtime+size"})
    listing = services.listing(job.model_copy(update={"source": measured}), io.BytesIO())
    extent = extent_of(job, listing, seconds=LISTING_SECONDS)
    workspace = Workspace(location, services.storage.at(location))
    rate = past_rate(job, nearby(workspace, services.index, services.storage))
    left = None if job.deadline is None else job.deadline - time.time()
    return estimate(job, extent, rate, len(services.reports.live("worker")) or None, left)
