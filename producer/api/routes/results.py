"""The routes of what a complete job has read: results, errors, readings in doubt, summary, report."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, HTTPException, Query, Request, Response

from contract.workspace import Workspace
from producer.api.formats import Choice, lines_response, media_types
from producer.api.jobs import Jobs
from producer.api.lines import Selection, file_response
from producer.api.negotiation import preferred
from producer.api.routes.job_paths import jobs_of, merged_of
from producer.api.routes.problems import problems
from producer.api.security.access import Requires
from producer.api.services import Services
from producer.results.evaluation.files import CSV, HTML, JSON, MAX_REPORT_BYTES

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


def add_results(router: APIRouter, services: Services) -> None:
    """Add the routes to those below `/jobs`."""
    _add_lines(router, services)
    _add_report(router, services)
    _add_quality(router, services)


def _add_lines(router: APIRouter, services: Services) -> None:
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


def _add_report(router: APIRouter, services: Services) -> None:
    may_read = [Depends(Requires("read", services.keyring))]
    merged = merged_of(services)

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
        accepted = preferred(request.headers.getlist("accept"), tuple(REPORT_FILES))
        media_type = REPORT_FORMATS[report_format] if report_format else accepted
        return _report(workspace, jobs, media_type)


def _report(workspace: Workspace, jobs: Jobs, media_type: str | None) -> Response:
    job = workspace.require_job()
    if job.kind != "compare":
        raise HTTPException(404, f"job {job.id} is of kind {job.kind}: only compare jobs have a report")
    if media_type is None:
        raise HTTPException(406, f"a report is {', '.join(REPORT_FILES)}: accept one of them")
    if media_type == "text/html" and jobs.bounds is not None and not job.source.confined:
        raise HTTPException(403, "its pictures may be outside the key's roots: use format=json")
    data = workspace.store.read(workspace.path(REPORT_FILES[media_type]), MAX_REPORT_BYTES)
    headers = {"content-security-policy": REPORT_POLICY, "vary": "accept"}
    return Response(data, media_type=media_type, headers=headers)


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
