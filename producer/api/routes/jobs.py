"""The routes of jobs: list, show, follow."""

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import UTC, datetime, tzinfo
from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from fastapi import APIRouter, Depends, Query
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from contract.errors import UsageError
from contract.job import MAX_TAGS, Tag
from contract.job_filter import Group, JobFilter
from contract.job_status import JOB_ID, JobStatus
from contract.kinds import KindName
from contract.states import State
from contract.tenants import MAX_NAME
from producer.api.jobs import Jobs
from producer.api.routes.corrections import add_corrections
from producer.api.routes.forms import add_forms
from producer.api.routes.inside import add_inside
from producer.api.routes.items import add_items
from producer.api.routes.job_paths import JobId, jobs_of
from producer.api.routes.problems import problems
from producer.api.routes.results import add_results
from producer.api.routes.samples import add_samples
from producer.api.routes.steering import add_steering
from producer.api.security.access import GuardedRoute, Requires
from producer.api.services import Services

LOOK_SECONDS = 1.0
"""Seconds between two checks of a job whose events are followed."""

MAX_PAGE = 100
"""Maximum number of jobs in one listing."""

MAX_WORDS = 200
"""Maximum characters of what is searched for."""


class JobList(BaseModel):
    """Some jobs, newest first; if `has_more`, continue with `after` set to `last_id`.

    `counts` are the jobs of each `state` that meet the other conditions, of those that Redis knows.
    """

    object: Literal["list"] = "list"
    data: list[JobStatus]
    has_more: bool
    last_id: str | None
    counts: dict[Group, int] = {}


def jobs_router(services: Services) -> APIRouter:
    """Return the routes below /jobs."""
    refusals = problems(401, 403, 404, 409, 413, 503)
    router = APIRouter(prefix="/jobs", tags=["jobs"], responses=refusals, route_class=GuardedRoute)
    _add_list(router, services)
    _add_status(router, services)
    add_results(router, services)
    add_inside(router, services)
    add_samples(router, services)
    add_forms(router, services)
    add_items(router, services)
    add_corrections(router, services)
    add_steering(router, services)
    return router


def _add_list(router: APIRouter, services: Services) -> None:
    may_read = [Depends(Requires("read", services.keyring))]

    @router.get("", dependencies=may_read)
    def list_jobs(
        jobs: Annotated[Jobs, jobs_of(services, "read")],
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = 20,
        after: Annotated[str | None, Query(pattern=JOB_ID)] = None,
        status: State | None = None,
        kind: KindName | None = None,
        tag: Annotated[tuple[Tag, ...], Query(max_length=MAX_TAGS)] = (),
        created_from: datetime | None = None,
        created_before: datetime | None = None,
        tenant: Annotated[str | None, Query(max_length=MAX_NAME)] = None,
        q: Annotated[str, Query(max_length=MAX_WORDS)] = "",
        state: Group | None = None,
        before: Annotated[str | None, Query(pattern=JOB_ID)] = None,
    ) -> JobList:
        """List jobs, newest first; `after` is the `last_id` of the previous listing.

        With `before`, an id, the page holds newer jobs than that one. A job must have every `tag`, and in its
        id, source, tags or metadata every word of `q`. Times are ISO 8601, in UTC unless they say another
        zone, or Unix seconds.
        """
        times = _seconds(created_from), _seconds(created_before)
        wanted = JobFilter(status, kind, tag, *times, tenant, tuple(q.lower().split()), state)
        page = jobs.page(limit, after, wanted, before)
        return JobList(data=page.data, has_more=page.has_more, last_id=page.last_id, counts=dict(page.counts))


def _add_status(router: APIRouter, services: Services) -> None:
    may_read = [Depends(Requires("read", services.keyring))]
    seen = jobs_of(services, "read")

    def zone_of(timezone: Annotated[str | None, Query(max_length=64)] = None) -> tzinfo | None:
        """Return the zone of times in words: the one that is asked for, or the deployment's."""
        name = timezone or services.settings.timezone
        try:
            return ZoneInfo(name) if name else None
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise UsageError(f"there is no time zone {timezone!r}: name one such as Europe/Berlin") from error

    @router.get("/{job_id}", dependencies=may_read, responses=problems(400))
    def get_job(
        job_id: JobId, jobs: Annotated[Jobs, seen], zone: Annotated[tzinfo | None, Depends(zone_of)]
    ) -> JobStatus:
        """Show one job; `timezone` is that of the times in its headline."""
        return jobs.status(job_id, zone)

    def known(job_id: JobId, jobs: Annotated[Jobs, seen]) -> str:
        """Answer 404 before the stream begins: afterwards the status is already 200."""
        jobs.status(job_id)
        return job_id

    @router.get(
        "/{job_id}/events",
        dependencies=may_read,
        responses=problems(400),
        response_class=EventSourceResponse,
    )
    async def follow_job(
        job_id: Annotated[str, Depends(known)],
        jobs: Annotated[Jobs, seen],
        zone: Annotated[tzinfo | None, Depends(zone_of)],
    ) -> AsyncIterator[ServerSentEvent]:
        """Follow a job: send its status at every change, until it has ended."""
        async for status in _changes(jobs, job_id, zone, services.stopping):
            yield ServerSentEvent(data=status, event="status")


def _seconds(at: datetime | None) -> float | None:
    if at is None:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


async def _changes(
    jobs: Jobs, job_id: str, zone: tzinfo | None, stopping: threading.Event
) -> AsyncIterator[JobStatus]:
    last = None
    while not stopping.is_set():
        status = await asyncio.to_thread(jobs.status, job_id, zone)
        if status != last:
            yield status
        if status.ended:
            return
        last = status
        await asyncio.sleep(LOOK_SECONDS)
