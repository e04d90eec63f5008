"""The routes that submit jobs and steer them."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Response

from contract.broker.ledger import Ledger
from contract.errors import JobStateError
from contract.estimate import Estimate
from contract.job import Job
from contract.job_status import JobStatus
from contract.source import STANDARD_INPUT
from contract.states import Action
from contract.tracing import span
from contract.workspace import Workspace
from producer.api.dry_run import estimate_of
from producer.api.job_request import JobRequest
from producer.api.jobs import Jobs
from producer.api.routes.job_paths import JobId, jobs_of
from producer.api.routes.problems import problems
from producer.api.security.access import Requires
from producer.api.security.keys import ApiKey
from producer.api.services import Services
from producer.control.steer import add_retry, cancel_job, check_action, pause_job
from producer.planning.submit import request_job

Steer = Callable[[Job, Workspace, Ledger], None]


def add_steering(router: APIRouter, services: Services) -> None:
    """Add the routes to those below `/jobs`."""
    _add_submitting(router, services)
    _add_actions(router, services)


def _add_submitting(router: APIRouter, services: Services) -> None:
    may_submit = [Depends(Requires("submit", services.keyring))]
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


def _add_actions(router: APIRouter, services: Services) -> None:
    may_submit = [Depends(Requires("submit", services.keyring))]
    steered = jobs_of(services, "submit")

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
