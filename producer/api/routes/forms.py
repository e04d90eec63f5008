"""The route of what a template's job has read: a line for each page."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Response

from contract.workspace import Workspace
from producer.api.lines import MEDIA_TYPE, Selection, file_response
from producer.api.routes.job_paths import merged_of
from producer.api.routes.problems import problems
from producer.api.security.access import Requires
from producer.api.services import Services
from producer.results.sinks import OWN, SINKS


def add_forms(router: APIRouter, services: Services) -> None:
    """Add the route to those below `/jobs`."""
    may_read = [Depends(Requires("read", services.keyring))]
    streamed: dict[str, Any] = {"content": {MEDIA_TYPE: {}}}

    @router.get(
        "/{job_id}/forms",
        dependencies=may_read,
        responses={200: streamed, 206: streamed, **problems(416)},
        response_class=Response,
    )
    def get_forms(
        workspace: Annotated[Workspace, Depends(merged_of(services))], asked: Annotated[Selection, Depends()]
    ) -> Response:
        """Stream the forms of a complete job with a template, a line for each page; 404 for other jobs."""
        job = workspace.require_job()
        if not OWN["forms"](job):
            raise HTTPException(404, f"job {job.id} has no template: only jobs with one have forms")
        lines, *_ = SINKS["forms"].paths(job, workspace)
        return file_response(workspace, lines, asked)
