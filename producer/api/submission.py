"""`POST /jobs`: store the job of a request in its workspace, and submit it to control."""

from dataclasses import dataclass

from contract.counting import counted
from contract.errors import IdTakenError, TraceOcrError, UsageError, WorkspaceConflictError
from contract.job import (
    Job,
)
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.tenants import parse_tenants, tenant_of
from contract.workspace import Workspace
from producer.api.idempotency import IdempotencyKeys
from producer.api.job_request import JobRequest
from producer.api.jobs import Jobs
from producer.api.requested import Requested
from producer.api.security.keys import ApiKey
from producer.planning.claim import Ids
from producer.planning.submit import request_job, settle_job


class TenantFullError(TraceOcrError):
    """The tenant has as many items waiting as it may have."""


@dataclass(frozen=True)
class Submission:
    """Submits jobs whose source and workspace are below the allowed roots."""

    settings: Settings
    jobs: Jobs
    keys: IdempotencyKeys
    model_store: ModelStore | None

    def submit(self, request: JobRequest, caller: ApiKey, idempotency_key: str | None) -> tuple[Job, bool]:
        """Return the job, and whether this call created it; an existing job is continued.

        The workers read its items only below the roots of the caller's key.

        Raises:
            UsageError: there is no such source
            TenantFullError: as many items of the key's tenant wait as may
            UnknownModelError: there is no such model
            TruthError: the truth of a comparison cannot be used
            OutsideAllowedRootsError: the source, the workspace or the truth is outside the allowed roots, or
                the key's
            WorkspaceConflictError: the workspace, or the id, belongs to another job
        """
        jobs = self.jobs.below(caller.roots)
        wanted = self._requested(request, jobs, caller).job()
        if not idempotency_key:
            return self._submit(request, wanted, jobs, repeated=False)
        name, repeated = self.keys.job_for(caller.name, idempotency_key, request, wanted.id)
        try:
            named = wanted.model_copy(update={"id": name})
            return self._submit(request, named, jobs, repeated=repeated)
        except (UsageError, TenantFullError):
            if not repeated:
                self.keys.forget(caller.name, idempotency_key)
            raise

    def described(self, request: JobRequest, caller: ApiKey) -> tuple[Job, str]:
        """Return the job that a request would submit, and the place of its workspace; raises as `submit`."""
        jobs = self.jobs.below(caller.roots)
        return self._requested(request, jobs, caller).job(), jobs.readable.resolved(request.output)

    def _submit(self, request: JobRequest, wanted: Job, jobs: Jobs, *, repeated: bool) -> tuple[Job, bool]:
        location = jobs.readable.resolved(request.output)
        workspace = Workspace(location, self.jobs.storage.at(location))
        if not workspace.store.exists(workspace.job_json):
            self._check_room(wanted.tenant)
        ids = Ids(self.jobs.ledger, self.jobs.index)
        try:
            job = settle_job(wanted, workspace, ids, self.jobs.roots, request.job_id)
        except IdTakenError as error:
            if jobs.bounds is None:
                raise
            # Without the place, which may not be the caller's.
            raise WorkspaceConflictError(f"there is a job named {error.job}: choose another id") from error
        # A repeated call must not resume a job that was cancelled or paused since.
        if not (repeated and workspace.load_halt()):
            self._hand_over(job, workspace)
        return job, job is wanted and not repeated

    def _requested(self, request: JobRequest, jobs: Jobs, caller: ApiKey) -> Requested:
        return Requested(request, caller, jobs, self.settings, self.model_store)

    def _check_room(self, name: str) -> None:
        most = tenant_of(name, parse_tenants(self.settings.tenants)).most_items
        if most is None:
            return
        waiting = self.jobs.ledger.items_waiting(name)
        if waiting >= most:
            raise TenantFullError(
                f"the tenant {name} has {counted(waiting, 'item')} waiting, and may have {most:,}: submit "
                "the job again once some are read"
            )

    def _hand_over(self, job: Job, workspace: Workspace) -> None:
        self.jobs.index.note(job, workspace)
        if not workspace.is_complete(job.id):
            request_job(job, workspace, self.jobs.ledger)
