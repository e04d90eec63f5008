"""Copies of the files that describe a job's regions, with the texts in them."""

import contextlib
import posixpath
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator
from typing import IO, NamedTuple, cast

import msgspec
import structlog

from contract.errors import JobError, ObjectMissingError, SourceError, UsageError
from contract.job import Job
from contract.region import region_id
from contract.storage import COPY_BYTES
from contract.workspace import Workspace, intact
from producer.regions.base import OtherFormatError, PageRegions, RegionText
from producer.regions.files import (
    Locate,
    RegionFile,
    files_of,
    format_of,
    opened,
    options_of,
)
from producer.regions.images import Images
from producer.results.sinks.base import Access, SinkContext, Write
from producer.results.sinks.documents import export_uri
from producer.results.sinks.region_readings import Readings, text_of

Page = tuple[str | None, int | None]
"""A page as a format names it: its image, and its number in a document."""


class WriteBack:
    """Writes each file of the job's regions to `exports/`, under its own relative name."""

    kinds = frozenset({"recognition"})

    def check(self, job: Job) -> None:
        """Raise UsageError if the job has no regions, or their format has no place for text."""
        regions = job.source.regions
        if regions is None:
            raise UsageError("exports: write_back is for jobs whose regions come from files: give --regions")
        if not format_of(regions).holds_text:
            raise UsageError(f"exports: {regions.format} has no place for text, so nothing is written back")

    @contextlib.contextmanager
    def open(self, context: SinkContext) -> Iterator[Write]:
        """Yield a function that notes what was read; the files are copied at the end of the block."""
        readings = Readings(context)
        with contextlib.closing(readings):
            yield readings.add
            readings.end()
            copies = _Copies(context, readings)
            copies.note()
            written = copies.write()
            context.totals.counts["written_back"] += written
            if written < readings.count:
                structlog.get_logger().warning(
                    "texts_not_written_back",
                    texts=readings.count - written,
                    reason="their regions have no place for it, or were changed since the job was planned",
                )

    def paths(self, job: Job, workspace: Workspace) -> Iterator[str]:  # noqa: ARG002 - of the interface
        """Yield the URI of each copy, and of the list of them."""
        for name in _noted(workspace):
            yield _copy_uri(workspace, name)
        yield workspace.written_back


SINK = WriteBack()


class _Copies:
    """The copies of one job's files."""

    def __init__(self, context: SinkContext, readings: Readings) -> None:
        access, job = context.access, context.job
        if access is None or job.source.regions is None:
            raise JobError("nothing can be written back: this merge may read nothing besides the workspace")
        self._workspace, self._readings = context.workspace, readings
        self._regions, self._storage = job.source.regions, access.storage
        self._locate = _locate(job, access)
        self._images = Images(job.source, self._storage, self._locate)

    def note(self) -> None:
        """Write the list of the copies, before the first one: so each is found when the job is removed."""
        names = {*_noted(self._workspace), *(_name(file) for file in self._files())}
        with self._workspace.store.writer(self._workspace.written_back) as target:
            for name in sorted(names):
                target.write(msgspec.json.encode(name) + b"\n")

    def write(self) -> int:
        """Write the copies; return how many texts are in them.

        There is none of a file that is gone or damaged since it was planned, and the log says so.
        """
        written = 0
        for file in self._files():
            try:
                written += self._copy(file)
            except OtherFormatError:
                continue
            except SourceError as error:
                structlog.get_logger().warning("not_written_back", file=file.uri, reason=str(error))
        return written

    def _files(self) -> Iterator[RegionFile]:
        try:
            yield from files_of(self._regions, self._storage, self._locate, Counter())
        except SourceError as error:
            structlog.get_logger().warning("not_written_back", reason=str(error))

    def _copy(self, file: RegionFile) -> int:
        known, options = format_of(self._regions), options_of(self._regions)
        uri = _copy_uri(self._workspace, _name(file))
        # Read twice from here, so that both times it is the same file.
        with tempfile.TemporaryFile() as original, tempfile.TemporaryFile() as whole:
            with opened(file, self._storage) as stream:
                shutil.copyfileobj(cast("IO[bytes]", stream), original, COPY_BYTES)
            original.seek(0)
            planned = self._planned(file, known.pages(original, options))
            texts = _Texts(self._readings, planned)
            original.seek(0)
            known.write(original, options, texts, whole)
            whole.seek(0)
            with self._workspace.store.writer(uri) as target:
                shutil.copyfileobj(whole, cast("IO[bytes]", target), COPY_BYTES)
        return texts.count

    def _planned(self, file: RegionFile, pages: Iterator[PageRegions]) -> "_Planned":
        """Return a file's pages, and its regions that are not those that were planned."""
        planned = _Planned({}, set())
        for page in pages:
            image = self._images.find(file, page.image or "", page.page)
            if image:
                planned.pages[page.image, page.page] = image.id
            for region in page.regions:
                identity = region_id(image.id, region.name or "") if image else ""
                reading = self._readings.of(identity)
                if reading and reading.region != text_of(region):
                    planned.changed.add(identity)
        return planned


class _Planned(NamedTuple):
    """Ids of a file's pages, and the ids of regions that were changed since they were planned."""

    pages: dict[Page, str]
    changed: set[str]


class _Texts:
    """What was read in the regions of one file; counts what it returns."""

    def __init__(self, readings: Readings, planned: _Planned) -> None:
        self._readings, self._planned = readings, planned
        self.count = 0

    def __call__(self, image: str | None, page: int | None, name: str) -> RegionText | None:
        """Return a region's text."""
        found = self._planned.pages.get((image, page))
        identity = region_id(found, name) if found else ""
        reading = None if identity in self._planned.changed else self._readings.of(identity)
        self.count += reading is not None
        return reading and reading.text


def _locate(job: Job, access: Access) -> Locate:
    """Return what finds the form to open of a URI below the allowed roots, and the job's."""
    roots = access.roots if job.roots is None else access.roots.within(job.roots)
    return roots.recorded


def _name(file: RegionFile) -> str:
    """Return a file's name relative to the listed folder; of a single file, its name."""
    return file.folder + file.uri.rpartition("/")[2]


def _copy_uri(workspace: Workspace, name: str) -> str:
    stem, extension = posixpath.splitext(name)
    suffix = extension.removeprefix(".")
    return export_uri(workspace, stem, suffix, (suffix.lower(),))


def _noted(workspace: Workspace) -> Iterator[str]:
    """Yield the names in the list of an earlier merge."""
    try:
        with workspace.store.reader(workspace.written_back) as lines, intact(workspace.written_back):
            for line in lines:
                yield msgspec.json.decode(line, type=str)
    except ObjectMissingError:
        return
