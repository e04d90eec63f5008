"""The workers' exports of each page, stored next to the parts: read chunk by chunk during the merge."""

from typing import NamedTuple

import msgspec

from contract.errors import JobError
from contract.job import Job
from contract.lines import PageExport
from contract.workspace import Workspace, intact
from producer.results.sinks.by_chunk import ByChunk


class Exported(NamedTuple):
    """A page's exports, and its number in its chunk's PDF, counted from 0."""

    page: PageExport
    chunk: int
    number: int


class PageExports:
    """The exports of a job's pages."""

    def __init__(self, job: Job, workspace: Workspace) -> None:
        self._workspace = workspace
        self._pages = ByChunk(job, self._load)

    def page(self, identity: str, chunk: int) -> Exported:
        """Return what its worker has exported of a page.

        Raises:
            JobError: its worker wrote none
        """
        exported = self._pages.get(identity, chunk)
        if exported is None:
            raise JobError(
                f"{self._workspace.page_exports(chunk)} lacks {identity!r}: delete that file and the part of "
                "the same number, and submit the job again to read its chunk again"
            )
        return exported

    def _load(self, chunk: int) -> dict[str, Exported]:
        uri = self._workspace.page_exports(chunk)
        with intact(uri):
            pages = [msgspec.json.decode(line, type=PageExport) for line in self._workspace.lines(uri)]
        return {page.id: Exported(page, chunk, number) for number, page in enumerate(pages)}
