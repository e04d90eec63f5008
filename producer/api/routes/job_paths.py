"""What the routes below `/jobs/{job_id}` have in common: the id, and the jobs that a key may see."""

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import Depends, HTTPException, Path

from contract.job_status import JOB_ID
from contract.records import MAX_CHUNKS
from contract.workspace import Workspace
from producer.api.jobs import Jobs
from producer.api.security.access import Requires
from producer.api.security.keys import ApiKey, Scope
from producer.api.services import Services

JobId = Annotated[str, Path(pattern=JOB_ID)]
ChunkNumber = Annotated[int, Path(ge=0, lt=MAX_CHUNKS)]
ItemIndex = Annotated[int, Path(ge=0, lt=1_000_000)]


def jobs_of(services: Services, scope: Scope) -> Any:
    """Return a dependency that gives the jobs of a request's key, which needs the scope."""

    async def below(caller: Annotated[ApiKey, Depends(Requires(scope, services.keyring))]) -> Jobs:
        return services.jobs.below(caller.roots)

    return Depends(below)


def merged_of(services: Services) -> Callable[..., Workspace]:
    """Return a dependency that gives the workspace of a complete job."""

    def merged(job_id: JobId, jobs: Annotated[Jobs, jobs_of(services, "read")]) -> Workspace:
        workspace = jobs.workspace(job_id)
        if not workspace.is_complete(job_id):
            raise HTTPException(409, f"job {job_id} is not complete: its lines are merged on completion")
        return workspace

    return merged
