"""The routes of jobs: submit, show, steer, fetch."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, HTTPException, Query, Request, Response
from fastapi.sse import EventSourceResponse, ServerSentEvent
from pydantic import BaseModel

from contract.broker.ledger import Ledger
from contract.errors import JobStateError
from contract.estimate import Estimate
from contract.job import MAX_TAGS, STANDARD_INPUT, Job, Tag
from contract.job_status import JOB_ID, Group, JobFilter, JobStatus
from contract.kinds import KindName
from contract.states import Action, State
from contract.tenants import MAX_NAME
from contract.tracing import span
from contract.workspace import Workspace
from producer.api.dry_run import estimate_of
from producer.api.formats import Choice, lines_response, media_types
from producer.api.jobs import Jobs
from producer.api.lines import Selection, file_response
from producer.api.negotiation import preferred
from producer.api.routes.corrections import add_corrections
from producer.api.routes.forms import add_forms
from producer.api.routes.items import add_items
from producer.api.routes.job_paths import JobId, jobs_of, merged_of
from producer.api.routes.problems import problems
from producer.api.routes.samples import add_samples
from producer.api.security.access import GuardedRoute, Requires
from producer.api.security.keys import ApiKey
from producer.api.services import Services
from producer.api.submission import JobRequest
from producer.control.steer import add_retry, cancel_job, check_action, pause_job
from producer.planning.submit import request_job
from producer.results.evaluation.files import CSV, HTML, JSON, MAX_REPORT_BYTES

LOOK_SECONDS = 1.0
"""Seconds between two checks of a job whose events are followed."""

MAX_PAGE = 100
"""Maximum number of jobs in one listing."""

MAX_WORDS = 200
"""Maximum characters of what is searched for."""

STREAMED: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/jsonl": {}}},
    206: {"content": {"application/jsonl": {}}},
    **problems(416),
}
"""Media types of file answers, for the API's documentation."""

REPORT_FILES = {"text/html": HTML, "application/json": JSON, "text/csv": CSV}
"""A report's files by media type, the usual one first."""

REPORT_FORMATS = {"html": "text/html", "json": "application/json", "csv": "text/csv"}
"""Media types by `format`."""

REPORT: dict[int | str, dict[str, Any]] = {
    200: {"content": {media_type: {} for media_type in REPORT_FILES}},
    **problems(406, 413),
}

REPORT_POLICY = (
    "sandbox allow-scripts; default-src 'none'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
"""A report may load and send nothing, and is of no origin: its own policy only allows its own script."""

Steer = Callable[[Job, Workspace, Ledger], None]


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
    _add_reading(router, services)
    _add_files(router, services)
    _add_quality(router, services)
    add_samples(router, services)
    add_forms(router, services)
    add_items(router, services)
    add_corrections(router, services)
    _add_steering(router, services)
    return router


def _add_reading(router: APIRouter, services: Services) -> None:
    may_read = [Depends(Requires("read", services.keyring))]
    seen = jobs_of(services, "read")

    @router.get("", dependencies=may_read)
    def list_jobs(
        jobs: Annotated[Jobs, seen],
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

    @router.get("/{job_id}", dependencies=may_read)
    def get_job(job_id: JobId, jobs: Annotated[Jobs, seen]) -> JobStatus:
        """Show one job."""
        return jobs.status(job_id)

    def known(job_id: JobId, jobs: Annotated[Jobs, seen]) -> str:
        """Answer 404 before the stream begins: afterwards the status is already 200."""
        jobs.status(job_id)
        return job_id

    @router.get("/{job_id}/events", dependencies=may_read, response_class=EventSourceResponse)
    async def follow_job(
        job_id: Annotated[str, Depends(known)], jobs: Annotated[Jobs, seen]
    ) -> AsyncIterator[ServerSentEvent]:
        """Follow a job: send its status at every change, until it has ended."""
        async for status in _changes(jobs, job_id, services.stopping):
            yield ServerSentEvent(data=status, event="status")


def _seconds(at: datetime | None) -> float | None:
    if at is None:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


async def _changes(jobs: Jobs, job_id: str, stopping: threading.Event) -> AsyncIterator[JobStatus]:
    last = None
    while not stopping.is_set():
        status = await asyncio.to_thread(jobs.status, job_id)
        if status != last:
            yield status
        if status.ended:
            return
        last = status
        await asyncio.sleep(LOOK_SECONDS)


def _add_quality(router: APIRouter, services: Services) -> None:
    may_read = [Depends(Requires("read", services.keyring))]
    merged = merged_of(services)

    @router.get("/{job_id}/review", dependencies=may_read, responses=STREAMED, response_class=Response)
    def get_review(
        workspace: Annotated[Workspace, Depends(merged)], asked: Annotated[Selection, Depends()]
    ) -> Response:
        """Stream a complete job's readings in doubt, in source order; 404 if it has no checks of readings."""
        job = workspace.require_job()
        if not job.checks.review:
            raise HTTPException(404, f"job {job.id} has no min_confidence, expect or validators")
        return file_response(workspace, workspace.review, asked)

    @router.get("/{job_id}/summary", dependencies=may_read)
    def get_summary(workspace: Annotated[Workspace, Depends(merged)]) -> dict[str, Any]:
        """Show a complete job's summary: counts, times, models, and the quality of its readings."""
        return workspace.load_summary() or {}


def _add_files(router: APIRouter, services: Services) -> None:
    may_read = [Depends(Requires("read", services.keyring))]

    merged = merged_of(services)

    content: dict[str, Any] = {"content": {media_type: {} for media_type in media_types()}}
    answers = {**STREAMED, 200: content, 206: content, **problems(400, 406)}

    @router.get("/{job_id}/results", dependencies=may_read, responses=answers, response_class=Response)
    def get_results(
        workspace: Annotated[Workspace, Depends(merged)],
        choice: Annotated[Choice, Depends()],
        asked: Annotated[Selection, Depends()],
    ) -> Response:
        """Stream a complete job's results, in source order, as JSONL or another format that it has written.

        A large job has several files of Parquet: `file` counts them from 0, and `Link` names the next one.
        """
        return lines_response(workspace, "results", choice, asked)

    @router.get("/{job_id}/errors", dependencies=may_read, responses=answers, response_class=Response)
    def get_errors(
        workspace: Annotated[Workspace, Depends(merged)],
        choice: Annotated[Choice, Depends()],
        asked: Annotated[Selection, Depends()],
    ) -> Response:
        """Stream a complete job's failed items, in source order, in the formats of its results."""
        return lines_response(workspace, "errors", choice, asked)

    @router.get("/{job_id}/report", dependencies=may_read, responses=REPORT, response_class=Response)
    def get_report(
        request: Request,
        workspace: Annotated[Workspace, Depends(merged)],
        jobs: Annotated[Jobs, jobs_of(services, "read")],
        report_format: Annotated[Literal["html", "json", "csv"] | None, Query(alias="format")] = None,
    ) -> Response:
        """Show the report of a complete compare job: as a page, all figures as JSON, or the models as CSV.

        `format` says which; without it, the request's `Accept` header does.
        """
        job = workspace.require_job()
        if job.kind != "compare":
            raise HTTPException(404, f"job {job.id} is of kind {job.kind}: only compare jobs have a report")
        accepted = preferred(request.headers.getlist("accept"), tuple(REPORT_FILES))
        media_type = REPORT_FORMATS[report_format] if report_format else accepted
        if media_type is None:
            raise HTTPException(406, f"a report is {', '.join(REPORT_FILES)}: accept one of them")
        if media_type == "text/html" and jobs.bounds is not None and not job.source.confined:
            raise HTTPException(403, "its pictures may be outside the key's roots: use format=json")
        data = workspace.store.read(workspace.path(REPORT_FILES[media_type]), MAX_REPORT_BYTES)
        headers = {"content-security-policy": REPORT_POLICY, "vary": "accept"}
        return Response(data, media_type=media_type, headers=headers)


def _add_steering(router: APIRouter, services: Services) -> None:
    may_submit = [Depends(Requires("submit", services.keyring))]
    steered = jobs_of(services, "submit")

    there_already: dict[int | str, dict[str, Any]] = {200: {"model": JobStatus | Estimate}}

    submitting = {**there_already, **problems(400)}

    @router.post("", status_code=202, dependencies=may_submit, responses=submitting)
    def submit_job(
        request: JobRequest,
        response: Response,
        caller: Annotated[ApiKey, Depends(Requires("submit", services.keyring))],
        idempotency_key: Annotated[str | None, Header(min_length=1, max_length=255)] = None,
        traceparent: Annotated[str | None, Header(max_length=100)] = None,
        dry_run: bool = False,
    ) -> JobStatus | Estimate:
        """Submit a source; control plans it. The same workspace or `Idempotency-Key` returns the same job.

        With `dry_run`, nothing is submitted or written: the answer says what would be read, and for how long.
        """
        if dry_run:
            response.status_code = 200
            return estimate_of(request, caller, services)
        with span("submit", traceparent):
            job, made = services.submission.submit(request, caller, idempotency_key)
        response.status_code = 202 if made else 200
        return services.jobs.status(job.id)

    @router.post("/{job_id}/pause", dependencies=may_submit)
    def pause(job_id: JobId, jobs: Annotated[Jobs, steered]) -> JobStatus:
        """Stop a job once its running chunks end; resume continues it."""
        return _steer(jobs, job_id, pause_job)

    @router.post("/{job_id}/cancel", dependencies=may_submit)
    def cancel(job_id: JobId, jobs: Annotated[Jobs, steered]) -> JobStatus:
        """Cancel a job; the files it has written stay."""
        return _steer(jobs, job_id, cancel_job)

    @router.post("/{job_id}/resume", dependencies=may_submit)
    def resume(job_id: JobId, jobs: Annotated[Jobs, steered]) -> JobStatus:
        """Continue a paused, cancelled or failed job."""
        return _steer(jobs, job_id, _resume)

    @router.post("/{job_id}/retry-errors", dependencies=may_submit)
    def retry_errors(job_id: JobId, jobs: Annotated[Jobs, steered]) -> JobStatus:
        """Read a complete job's failed items again; the results are merged in place."""
        return _steer(jobs, job_id, _retry)


def _steer(jobs: Jobs, job_id: str, steer: Steer) -> JobStatus:
    workspace = jobs.workspace(job_id)
    steer(workspace.require_job(), workspace, jobs.ledger)
    return jobs.status(job_id)


def _resume(job: Job, workspace: Workspace, ledger: Ledger) -> None:
    check_action(Action.RESUME, job, workspace, ledger)
    if job.plan is None and job.source.uri == STANDARD_INPUT:
        raise JobStateError(f"job {job.id} reads standard input: submit it again with the same input")
    request_job(job, workspace, ledger)


def _retry(job: Job, workspace: Workspace, ledger: Ledger) -> None:
    request_job(add_retry(job, workspace, ledger), workspace, ledger)
