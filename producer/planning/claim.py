"""Claim a place and an id for a new job, before anything is planned. A refused job leaves nothing behind.

The place is looked at before `job.json` is created there, and again after: of two that come at once, at least
one sees the other.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

from contract.broker.ledger import Ledger
from contract.errors import IdTakenError, ObjectMissingError, WorkspaceConflictError
from contract.job import Job
from contract.job_record import is_job_record
from contract.source import STANDARD_INPUT
from contract.storage import absolute
from contract.workspace import MAX_JSON_BYTES, Workspace, holds_workspace
from producer.results.index import FOLDER, JobIndex

SHOWN_FILES = 3
"""Files that a refusal names."""

OWN = ("job.json", "halt.json")
"""Files of a job without a chunk."""


@dataclass(frozen=True)
class Ids:
    """The ids of the jobs that Redis and, if there is one, the index know."""

    ledger: Ledger
    index: JobIndex | None

    def reserve(self, job: str, workspace: Workspace, *, chosen: bool) -> None:
        """Keep an id for a workspace, until the ledger knows the job.

        Args:
            chosen: the id was not made just now, so the index may have it

        Raises:
            IdTakenError: a job with this id lives in another workspace
        """
        found = self.index.find(job) if chosen and self.index else None
        if found and found.root != workspace.root:
            raise IdTakenError(job, found.root)
        self.ledger.reserve(job, workspace.root)

    def withdraw(self, job: str, workspace: Workspace) -> None:
        """Undo the reservation of a job that was refused."""
        self.ledger.withdraw(job, workspace.root)


def load_claimed(workspace: Workspace) -> Job | None:
    """Return the job that lives in a workspace, or None.

    Raises:
        WorkspaceConflictError: its job.json is not ours
        JobError: its job.json is one that this version cannot read
    """
    try:
        data = workspace.store.read(workspace.job_json, MAX_JSON_BYTES)
    except ObjectMissingError:
        return None
    if not is_job_record(data):
        raise _refusal(workspace, "its job.json is not of a job")
    return workspace.load_job()


def claim(wanted: Job, workspace: Workspace, roots: Iterable[str]) -> Job:
    """Create `job.json` in an empty place; return the job, or the one that another caller created since.

    Args:
        roots: the allowed roots

    Raises:
        WorkspaceConflictError: the place is not empty, or reserved; the message says for what
    """
    _check_place(wanted, workspace, list(roots))
    check_empty(workspace)
    if not workspace.store.create(workspace.job_json, wanted.to_json()):
        return workspace.require_job()
    try:
        _check_place(wanted, workspace, list(roots))
        check_empty(workspace)
    except WorkspaceConflictError:
        _give_up(wanted, workspace)
        raise
    # On storage without conditional writes the last of two writers wins.
    found = workspace.require_job()
    return wanted if found.id == wanted.id else found


def check_empty(workspace: Workspace) -> None:
    """Raise WorkspaceConflictError if a place without a chunk holds files that are not of a job."""
    found = list(islice(_foreign(workspace), SHOWN_FILES + 1))
    if not found or (workspace.chunk_numbers() and workspace.store.exists(workspace.job_json)):
        return
    named = ", ".join(found[:SHOWN_FILES]) + (" and more" if len(found) > SHOWN_FILES else "")
    raise _refusal(workspace, f"it is not empty, and no job lives there; it holds {named}")


def _foreign(workspace: Workspace) -> Iterator[str]:
    base = workspace.root.rstrip("/") + "/"
    for uri, _ in workspace.store.objects(workspace.root):
        name = uri.removeprefix(base)
        # Consoles of S3 create objects whose names end in a slash, to show a folder.
        if name and not name.endswith("/") and name not in OWN:
            yield name


def _check_place(job: Job, workspace: Workspace, roots: list[str]) -> None:
    place = workspace.root
    if place in roots:
        raise _refusal(workspace, "it is an allowed root itself")
    if place in (absolute(uri) for uri in job.source.uris if uri != STANDARD_INPUT):
        raise _refusal(workspace, "it is the source itself")
    if job.source.regions and place == absolute(job.source.regions.uri):
        raise _refusal(workspace, "it is the folder of the regions")
    if FOLDER[0] in place.split("/"):
        raise _refusal(workspace, f"{FOLDER[0]} is kept for the index of jobs")
    for folder in _above(place, roots):
        if holds_workspace(folder, workspace.store):
            raise _refusal(workspace, f"it is inside {folder}, where another job lives")


def _above(place: str, roots: list[str]) -> Iterator[str]:
    """Yield the folders above a place, up to its allowed root if there are any."""
    folder = place.rpartition("/")[0]
    while folder and not folder.endswith("/"):
        if not roots or any(f"{folder}/".startswith(root.rstrip("/") + "/") for root in roots):
            yield folder
        folder = folder.rpartition("/")[0]


def _give_up(wanted: Job, workspace: Workspace) -> None:
    """Remove the `job.json` that this call created, unless another caller has changed it since."""
    if workspace.store.read(workspace.job_json, MAX_JSON_BYTES) == wanted.to_json():
        workspace.store.delete(workspace.job_json)


def _refusal(workspace: Workspace, reason: str) -> WorkspaceConflictError:
    return WorkspaceConflictError(
        f"{workspace.root} cannot become the workspace of a job: {reason}. Use a new or an empty folder"
    )
