"""The index in storage: maps job ids to workspaces, to find a job by its id when Redis is empty.

Each entry is a file `.trace-ocr/jobs/<created_at>-<id>.json` below the workspace's allowed root. It holds the
workspace's URI. Names sort by creation time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from contract.errors import JobError, OutsideAllowedRootsError
from contract.job import Job
from contract.layout import RESERVED
from contract.storage import Storage, join
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace, intact, open_workspace

FOLDER = (RESERVED, "jobs")

MAX_ENTRY_BYTES = 1 << 16
"""Size limit of one entry in bytes: a URI of 4,096 characters, escaped."""


class _Entry(msgspec.Struct, frozen=True):
    workspace: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One indexed job: its id, its creation time in Unix seconds, and its entry's URI."""

    job: str
    created_at: float
    uri: str


@dataclass(frozen=True)
class JobIndex:
    """The index entries below all allowed roots."""

    roots: AllowedRoots
    storage: Storage

    def note(self, job: Job, workspace: Workspace) -> None:
        """Add a job; a job whose workspace is below no allowed root is not indexed."""
        uri = self._entry_of(job, workspace)
        if uri:
            self.storage.at(uri).create(uri, msgspec.json.encode(_Entry(workspace.root)))

    def forget(self, job: Job, workspace: Workspace) -> None:
        """Remove the entry of a job that was removed, unless it names another workspace."""
        uri = self._entry_of(job, workspace)
        entry = uri and self.storage.at(uri).exists(uri) and self._workspace_of(uri)
        if uri and entry == workspace.root:
            self.storage.at(uri).delete(uri)

    def listed(self) -> dict[str, "Listed"]:
        """Return every indexed job by id; takes one listing per root."""
        return {entry.job: entry for entry in self._entries()}

    def find(self, job: str) -> Workspace | None:
        """Return a job's workspace, or None if the job is not indexed; raises as `open`.

        The oldest of several: older versions also indexed a later job that was then refused.
        """
        entries = [entry for entry in self._entries() if entry.job == job]
        oldest_first = sorted(entries, key=lambda entry: entry.created_at)
        return next(filter(None, map(self.open, oldest_first)), None)

    def open(self, entry: "Listed") -> Workspace | None:
        """Return the workspace of an entry, or None if it is gone or now holds another job.

        Raises:
            JobError: the entry is damaged
        """
        workspace = open_workspace(self._workspace_of(entry.uri), self.storage, self.roots)
        return workspace if _lives_in(workspace, entry.job) else None

    def _entry_of(self, job: Job, workspace: Workspace) -> str | None:
        try:
            root = self.roots.containing(workspace.root)
        except OutsideAllowedRootsError:
            return None
        return join(root, *FOLDER, f"{job.created_at:010d}-{job.id}.json")

    def _workspace_of(self, uri: str) -> str:
        with intact(uri):
            data = self.storage.at(uri).read(uri, MAX_ENTRY_BYTES)
            return msgspec.json.decode(data, type=_Entry).workspace

    def _entries(self) -> Iterator["Listed"]:
        for root in self.roots:
            folder = join(root, *FOLDER)
            for name in self.storage.at(folder).names(folder):
                match = re.fullmatch(r"([0-9]{10})-(.+)\.json", name)
                if match:
                    yield Listed(match[2], float(match[1]), join(folder, name))


def _lives_in(workspace: Workspace, job: str) -> bool:
    try:
        found = workspace.load_job()
    except JobError:
        return False
    return found is not None and found.id == job
