"""The layout of a workspace: the names of its files. Those of chunks sort in source order."""

import re
from dataclasses import dataclass

from contract.storage import join

SUCCESS = "_SUCCESS"
"""The name of the completion marker, as of Spark and Hadoop."""

RESERVED = ".trace-ocr"
"""Folder below an allowed root that the product keeps for itself."""

LETTERS = "ab"
"""What the names of chunks begin with whose number has seven or eight digits. Letters sort after digits, and
the numbers of each length by themselves, so that the names of all chunks sort as their numbers do."""

NUMBER = "[0-9]{6}|a[1-9][0-9]{6}|b[1-9][0-9]{7}"
"""The name of a chunk, without its extension, as a regular expression."""

FOLDERS = ("chunks", "parts", "statistics", "page_exports")
"""Folders with one file per chunk."""

LINES = ("results.jsonl", "errors.jsonl", "review.jsonl")
INDEX = ".index.json"
"""In the name of a merged file's index, in place of its `.jsonl`."""

INDEXES = tuple(name.removesuffix(".jsonl") + INDEX for name in LINES)

OWN = ("job.json", "halt.json", "merge.json", "corrections.jsonl", "summary.json", SUCCESS)

FILES = frozenset({*OWN, *LINES, *INDEXES})
"""Files directly in a workspace."""

_BATCH = re.compile(r"[0-9]{20}-[0-9a-f]{8}\.jsonl")

_CHUNK_FILE = re.compile(rf"({NUMBER})\.(jsonl|json|pdf)")


@dataclass(frozen=True)
class Layout:
    """Where the files of one job are, below its root: an absolute local folder, or a remote prefix."""

    root: str

    def path(self, *parts: str) -> str:
        """Return the URI of a path in the workspace."""
        return join(self.root, *parts)

    @property
    def job_json(self) -> str:
        """The job's record, a `contract.job.Job`."""
        return self.path("job.json")

    @property
    def results(self) -> str:
        """Every successful line, in source order."""
        return self.path("results.jsonl")

    @property
    def errors(self) -> str:
        """Every failed item, in source order."""
        return self.path("errors.jsonl")

    @property
    def review(self) -> str:
        """The results in doubt, in source order; only if the job has checks."""
        return self.path("review.jsonl")

    @property
    def order(self) -> str:
        """The results by confidence: positions in `results.jsonl`."""
        return self.path("results.order.bin")

    @property
    def corrections(self) -> str:
        """What people have corrected, in the order in which they did; later batches are beside it."""
        return self.path("corrections.jsonl")

    @property
    def correction_batches(self) -> str:
        """The folder of corrections that are not in `corrections.jsonl` yet, a file for each request."""
        return self.path("corrections")

    @property
    def summary(self) -> str:
        """Counts, times and the models' identities."""
        return self.path("summary.json")

    @property
    def written_back(self) -> str:
        """The names, below `exports`, of the copies of files with regions: a JSON text on each line.

        In a folder of its own, which a removal empties after `exports`.
        """
        return self.path("write_back", "copies.jsonl")

    @property
    def merge_json(self) -> str:
        """The job whose merge wrote the merged files and the exports; written before them."""
        return self.path("merge.json")

    @property
    def halt_json(self) -> str:
        """Why the job does not run: failed, paused or cancelled; missing otherwise."""
        return self.path("halt.json")

    @property
    def success(self) -> str:
        """The completion marker, written last."""
        return self.path(SUCCESS)

    def line_index(self, uri: str) -> str:
        """Return the URI of the index of a merged file: where some of its lines begin."""
        return uri.removesuffix(".jsonl") + INDEX

    def chunk(self, number: int) -> str:
        """Return the URI of the items of one chunk."""
        return self.path("chunks", f"{name_of(number)}.jsonl")

    def part(self, number: int) -> str:
        """Return the URI of one chunk's part: a line for each of its items."""
        return self.path("parts", f"{name_of(number)}.jsonl")

    def statistics(self, number: int) -> str:
        """Return the URI of one chunk's statistics."""
        return self.path("statistics", f"{name_of(number)}.json")

    def page_exports(self, number: int) -> str:
        """Return the URI of one chunk's page exports: a line for each page that was read."""
        return self.path("page_exports", f"{name_of(number)}.jsonl")

    def page_pdfs(self, number: int) -> str:
        """Return the URI of one chunk's pages as one PDF."""
        return self.path("page_exports", f"{name_of(number)}.pdf")


def is_batch(name: str) -> bool:
    """Return whether a file holds a batch of corrections; the names sort by time."""
    return _BATCH.fullmatch(name) is not None


def name_of(chunk: int) -> str:
    """Return the name of a chunk's files, without an extension."""
    digits = f"{chunk:06d}"
    return digits if len(digits) == 6 else LETTERS[len(digits) - 7] + digits


def number_of(name: str) -> int | None:
    """Return the number of the chunk that a file belongs to, or None if it is no chunk's file."""
    match = _CHUNK_FILE.fullmatch(name)
    return int(match[1].lstrip(LETTERS)) if match else None
