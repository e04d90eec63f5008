"""The workers' exports of each page, stored next to the parts: read chunk by chunk during the merge."""

from typing import NamedTuple

import msgspec

from contract.documents import document_of
from contract.errors import JobError
from contract.job import Job
from contract.lines import PageExport
from contract.workspace import Workspace, intact


class Exported(NamedTuple):
    """A page's exports, the id of its document, and its number in its chunk's PDF, counted from 0."""

    page: PageExport
    document: str
    number: int


class PageExports:
    """The exports of a job's pages; keeps a few chunks in memory."""

    def __init__(self, job: Job, workspace: Workspace) -> None:
        self._workspace = workspace
        # A page is in the current planned chunk, or in the current chunk of a retry.
        self._kept = 1 + len(job.retries)
        self._chunks: dict[int, dict[str, Exported]] = {}

    def page(self, identity: str, chunk: int) -> Exported:
        """Return what its worker has exported of a page.

        Raises:
            JobError: its worker wrote none
        """
        if chunk not in self._chunks:
            if len(self._chunks) >= self._kept:
                self._chunks.pop(next(iter(self._chunks)))
            self._chunks[chunk] = self._load(chunk)
        try:
            return self._chunks[chunk][identity]
        except KeyError as error:
            raise JobError(
                f"{self._workspace.page_exports(chunk)} lacks {identity!r}: delete that file and the part of "
                "the same number, and submit the job again to read its chunk again"
            ) from error

    def _load(self, chunk: int) -> dict[str, Exported]:
        # Only the items know of which document a page is: ids may be any text.
        documents = {item.id: document_of(item.id, item.page) for item in self._workspace.items(chunk)}
        uri = self._workspace.page_exports(chunk)
        with intact(uri):
            pages = [msgspec.json.decode(line, type=PageExport) for line in self._workspace.lines(uri)]
        return {
            page.id: Exported(page, documents[page.id], number)
            for number, page in enumerate(pages)
            if page.id in documents
        }
