"""The workers' exports of each page, stored next to the parts: read chunk by chunk during the merge."""

import msgspec

from contract.errors import JobError
from contract.job import Job
from contract.lines import PageExport
from contract.workspace import Workspace, intact


class PageExports:
    """The exports of a job's pages; keeps a few chunks in memory."""

    def __init__(self, job: Job, workspace: Workspace) -> None:
        self._workspace = workspace
        # A page is in the current planned chunk, or in the current chunk of a retry.
        self._kept = 1 + len(job.retries)
        self._chunks: dict[int, dict[str, tuple[int, PageExport]]] = {}

    def page(self, identity: str, chunk: int) -> tuple[int, PageExport]:
        """Return a page's number in its chunk's PDF, counted from 0, and its exports.

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

    def _load(self, chunk: int) -> dict[str, tuple[int, PageExport]]:
        uri = self._workspace.page_exports(chunk)
        with intact(uri):
            pages = [msgspec.json.decode(line, type=PageExport) for line in self._workspace.lines(uri)]
        return {page.id: (number, page) for number, page in enumerate(pages)}
