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
from contract.storage import Storage, join
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace, intact, open_workspace

FOLDER = (".trace-ocr", "jobs")

MAX_ENTRY_BYTES = 1 << 16
"""Bytes of one entry at most: a URI of 4,096 characters, escaped."""


class _Entry(msgspec.Struct, frozen=True):
    workspace: str


@dataclass(frozen=True, slots=True)
class Listed:
    """One job as the listing shows it: its id, when it was created in Unix seconds, and its entry's URI."""

    job: str
    created_at: float
    uri: str


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

    def listed(self) -> dict[str, "Listed"]:
        """Return every job that is entered, by id, in one listing per root."""
        return {entry.job: entry for entry in self._entries()}

    def find(self, job: str) -> Workspace | None:
        """Return a job's workspace, or None if the index does not have it; raises as `open`."""
        return next(filter(None, (self.open(entry) for entry in self._entries() if entry.job == job)), None)

    def open(self, entry: "Listed") -> Workspace | None:
        """Return the workspace of an entry, or None if that is gone or another's by now.

        Raises:
            JobError: the entry is damaged
        """
        with intact(entry.uri):
            data = self.storage.at(entry.uri).read(entry.uri, MAX_ENTRY_BYTES)
            root = msgspec.json.decode(data, type=_Entry).workspace
        self.roots.check(root)
        workspace = open_workspace(root, self.storage)
        return workspace if _lives_in(workspace, entry.job) else None

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
