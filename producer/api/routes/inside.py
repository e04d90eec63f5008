"""The routes that look inside a job: what was asked for, its chunks, its failed items."""

from typing import Annotated, Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, HTTPException, Query
from pydantic import BaseModel

from contract.broker.app import task_for
from contract.chunk_map import ChunkMap
from contract.errors import ErrorCode
from contract.job import Job
from contract.workspace import Workspace
from producer.api.jobs import Jobs
from producer.api.routes.job_paths import ChunkNumber, JobId, jobs_of
from producer.api.routes.problems import problems
from producer.api.security.access import Requires
from producer.api.services import Services
from producer.results.failures import Failures, failures

MAX_FAILURES = 200
"""Most failed items of one page."""


class ModelOut(BaseModel):
    """A model that a job names, the parameter that names it, and its task."""

    parameter: str
    task: str
    name: str


class ChunkOut(BaseModel):
    """A chunk that was read: its items, and the seconds that its worker took; `ended_at` in Unix seconds."""

    completed: int
    failed: int
    wall_seconds: float
    worker: str
    ended_at: float | None


class Details(BaseModel):
    """What a job was asked for. `submitted_by` is the name of an API key; empty without one.

    `read_by` are the models that have read it, once it is complete. `flower` is the page of Flower with the
    job's chunks, if there is one.
    """

    parameters: dict[str, Any]
    models: list[ModelOut]
    read_by: list[dict[str, str]]
    submitted_by: str
    chunk_size: int
    exports: list[str]
    checks: dict[str, Any]
    urgent: bool
    retries: int
    template: bool
    flower: str | None


def add_inside(router: APIRouter, services: Services) -> None:
    """Add the routes to those below `/jobs`."""
    may_read = [Depends(Requires("read", services.keyring))]
    seen = jobs_of(services, "read")

    @router.get("/{job_id}/details", dependencies=may_read)
    def get_details(job_id: JobId, jobs: Annotated[Jobs, seen]) -> Details:
        """Show what a job was asked for: its parameters, models and formats, and by whom."""
        workspace = jobs.workspace(job_id)
        return _details(workspace.require_job(), workspace, services.settings.flower_url)

    @router.get("/{job_id}/chunks", dependencies=may_read)
    def get_chunks(job_id: JobId, jobs: Annotated[Jobs, seen]) -> ChunkMap:
        """Show which chunks of a job are done, running, failed and waiting, in runs of equal ones."""
        return jobs.chunks(job_id, services.settings.visibility_timeout)

    @router.get("/{job_id}/chunks/{chunk}", dependencies=may_read)
    def get_chunk(job_id: JobId, jobs: Annotated[Jobs, seen], chunk: ChunkNumber) -> ChunkOut:
        """Show who has read a chunk, and for how long; 404 while nobody has."""
        found = jobs.workspace(job_id).load_statistics(chunk)
        if found is None:
            raise HTTPException(404, f"no worker has read chunk {chunk} of job {job_id}")
        return ChunkOut(**{name: getattr(found, name) for name in ChunkOut.model_fields})

    @router.get("/{job_id}/failures", dependencies=may_read, responses=problems(400))
    def get_failures(
        job_id: JobId,
        jobs: Annotated[Jobs, seen],
        code: ErrorCode | None = None,
        limit: Annotated[int, Query(ge=1, le=MAX_FAILURES)] = 50,
        after: Annotated[str | None, Query(max_length=64)] = None,
    ) -> Failures:
        """List the failed items of a job, also while it runs; continue with `after` set to `next`.

        A page may have fewer items than asked for, or none, and not be the last.
        """
        return failures(jobs.workspace(job_id), job_id, code, limit, after)


def _details(job: Job, workspace: Workspace, flower_url: str | None) -> Details:
    summary = workspace.load_summary() if workspace.is_complete(job.id) else None
    return Details(
        parameters=job.parameters.model_dump(mode="json"),
        models=[ModelOut(**model._asdict()) for model in job.parameters.wanted_models()],
        read_by=(summary or {}).get("models", []),
        submitted_by=job.submitted_by or "",
        chunk_size=job.chunk_size,
        exports=list(job.exports),
        checks=job.checks.model_dump(mode="json", exclude_defaults=True),
        urgent=job.urgent,
        retries=len(job.retries),
        template=job.source.has_template,
        flower=flower_page(flower_url, job.kind, job.id),
    )


def flower_page(flower_url: str | None, kind: str, job: str) -> str | None:
    """Return the address of Flower's list of a job's chunks; None if Flower has no address.

    Flower takes a search from its address only as a task's name, a state or a worker; it reads what follows
    the name as the rest of the search.
    """
    if flower_url is None:
        return None
    return f"{flower_url.rstrip('/')}/tasks?name={quote(f'{task_for(kind)} args:{job}', safe='')}"
