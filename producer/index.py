"""The index: which jobs live where, in storage, for those who have only a job's id and an empty Redis.

Under the allowed root that a workspace lies below: `.trace-ocr/jobs/<created_at>-<id>.json`, which holds the
workspace's URI. Names sort by time.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

import msgspec

from contract.errors import JobError, OutsideAllowedRootsError
from contract.job import Job
from contract.roots import AllowedRoots
from contract.storage import Storage, join
from contract.workspace import Workspace, intact, open_workspace

FOLDER = (".trace-ocr", "jobs")

MAX_ENTRY_BYTES = 1 << 16
"""Bytes of one entry at most: a URI of 4,096 characters, escaped."""


class _Entry(msgspec.Struct, frozen=True):
    workspace: str


@dataclass(frozen=True)
class JobIndex:
    """The entries below every allowed root."""

    roots: AllowedRoots
    storage: Storage

    def note(self, job: Job, workspace: Workspace) -> None:
        """Enter a job; one whose workspace lies below no allowed root is left out."""
        try:
            root = self.roots.containing(workspace.root)
        except OutsideAllowedRootsError:
            return
        uri = join(root, *FOLDER, f"{job.created_at:010d}-{job.id}.json")
        self.storage.at(uri).create(uri, msgspec.json.encode(_Entry(workspace.root)))

    def created(self) -> dict[str, float]:
        """Return when each job was created, in Unix seconds."""
        return {job: created_at for job, created_at, _ in self._entries()}

    def find(self, job: str) -> Workspace | None:
        """Return a job's workspace, or None if the index does not have it or it is another's by now.

        Raises:
            JobError: the entry is damaged
        """
        for identity, _, uri in self._entries():
            if identity == job:
                with intact(uri):
                    entry = msgspec.json.decode(self.storage.at(uri).read(uri, MAX_ENTRY_BYTES), type=_Entry)
                self.roots.check(entry.workspace)
                workspace = open_workspace(entry.workspace, self.storage)
                if _lives_in(workspace, job):
                    return workspace
        return None

    def _entries(self) -> Iterator[tuple[str, float, str]]:
        for root in self.roots:
            folder = join(root, *FOLDER)
            for name in self.storage.at(folder).names(folder):
                match = re.fullmatch(r"([0-9]{10})-(.+)\.json", name)
                if match:
                    yield match[2], float(match[1]), join(folder, name)


def _lives_in(workspace: Workspace, job: str) -> bool:
    try:
        found = workspace.load_job()
    except JobError:
        return False
    return found is not None and found.id == job
