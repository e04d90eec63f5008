"""Lines that an earlier job has read of the same content: found by fingerprints while a job is planned."""

from collections.abc import Callable, Iterator

import msgspec

from contract.errors import UsageError
from contract.job import Job
from contract.kinds import KINDS
from contract.private_database import private_database
from contract.records import Item
from contract.reuse import Reuse
from contract.workspace import Workspace
from producer.results.merge import final_lines
from producer.results.quality import Quality
from producer.results.totals import Totals
from producer.sources.base import Listing

OF_CONTENT = ("etag", "sha256")
"""Fingerprints that two files have only if they hold the same bytes."""

BLOCK = 4_096
"""Lines that are kept in one statement."""

Key = tuple[str, int, str]
"""Fingerprint, page, and region as JSON."""


def with_reuse(job: Job, workspace: Workspace) -> Job:
    """Return a job that takes over the lines of the complete job in a workspace.

    Raises:
        UsageError: its lines say nothing about the other job's items
        JobError: the workspace is of no job, or damaged
    """
    earlier = workspace.require_job()
    summary = workspace.load_summary() or {}
    reasons = {
        "it is not complete": not workspace.is_complete(earlier.id),
        f"it is a {earlier.kind} job": earlier.kind != job.kind,
        "its parameters are others": _parameters(earlier) != _parameters(job),
        "its items have no fingerprints of their content: read it with --changed etag or --changed sha256": (
            earlier.source.changed not in OF_CONTENT
        ),
        f"its fingerprints are {earlier.source.changed}": job.source.changed
        not in (None, earlier.source.changed),
        "exports need every page to be read": bool(job.page_exports),
    }
    reason = next((text for text, applies in reasons.items() if applies), None)
    if reason:
        raise UsageError(f"the lines of {workspace.root} cannot be reused: {reason}")
    source = job.source.model_copy(update={"changed": earlier.source.changed})
    reuse = Reuse(workspace=workspace.root, models=tuple(summary.get("models", ())))
    return job.model_copy(update={"source": source, "reuse": reuse})


def _parameters(job: Job) -> object:
    return KINDS[job.kind].identity(job.parameters)


def reusing(listing: Listing, workspace: Callable[[], Workspace]) -> Listing:
    """Return a listing whose items have the lines that an earlier job has read of the same content.

    Args:
        workspace: returns the earlier job's, at the first item

    Raises (while iterating):
        JobError: the earlier job's files are damaged
    """

    def items() -> Iterator[Item]:
        lines = _Lines()
        try:
            lines.load(workspace())
            for item in listing:
                yield lines.added_to(item)
        finally:
            lines.close()

    return Listing(items(), listing.passed_over)


class _Lines:
    """The result lines of a job by the content that they are of, in a temporary file."""

    def __init__(self) -> None:
        self._database = private_database(
            "CREATE TABLE lines (fingerprint TEXT, page INTEGER, region TEXT, line TEXT, "
            "PRIMARY KEY (fingerprint, page, region)) WITHOUT ROWID"
        )

    def close(self) -> None:
        """Remove the file."""
        self._database.close()

    def load(self, workspace: Workspace) -> None:
        """Take the lines of a complete job."""
        job = workspace.require_job()
        assert job.plan is not None
        items = (item for chunk in range(job.plan.chunks) for item in workspace.items(chunk))
        rows: list[tuple[str, int, str, str]] = []
        for item, merged in zip(
            items, final_lines(job, job.plan, workspace, Totals(), Quality(job.kind)), strict=True
        ):
            if merged.failure is None and item.fingerprint:
                rows.append((*_key(item.fingerprint, item), merged.line.decode()))
            if len(rows) == BLOCK:
                self._insert(rows)
                rows = []
        self._insert(rows)

    def _insert(self, rows: list[tuple[str, int, str, str]]) -> None:
        self._database.executemany("INSERT OR IGNORE INTO lines VALUES (?, ?, ?, ?)", rows)

    def added_to(self, item: Item) -> Item:
        """Return an item with the line of its content, if there is one."""
        if not item.fingerprint:
            return item
        query = "SELECT line FROM lines WHERE fingerprint = ? AND page = ? AND region = ?"
        found = self._database.execute(query, _key(item.fingerprint, item)).fetchone()
        return msgspec.structs.replace(item, reused=_renamed(found[0], item)) if found else item


def _key(fingerprint: str, item: Item) -> Key:
    region = msgspec.json.encode(item.region).decode() if item.region else ""
    return fingerprint, item.page or 0, region


def _renamed(line: str, item: Item) -> str:
    """Return a line as that of another item with the same content."""
    read = msgspec.json.decode(line)
    named = {**read, "id": item.id, "name": item.name, "label": item.label}
    if item.label is None:
        del named["label"]
    # The worker adds the item's own.
    named.pop("metadata", None)
    return line if named == read else msgspec.json.encode(named).decode()
