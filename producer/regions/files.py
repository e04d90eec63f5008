"""The files of a job's regions: listed in order, and opened."""

import contextlib
import posixpath
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from typing import NamedTuple

from contract.errors import SourceError, StorageError, StorageUnavailableError
from contract.inner_workspaces import InnerWorkspaces
from contract.region import Region
from contract.source import Regions
from contract.storage import Storage, answers, is_remote
from contract.storage.failures import failing_as
from producer.regions import FORMATS
from producer.regions.base import PageRegions, Readable, RegionFormat, RegionOptions

MAX_FILE_BYTES = 1 << 30
"""Size limit of one file in bytes: the hOCR of a book of a thousand pages has a tenth of it."""

AHEAD = 16
"""Remote files fetched ahead of their turn, to hide the latency of storage."""

AHEAD_BYTES = 1 << 20
"""Maximum bytes of a file that is fetched ahead: those of one page have a tenth. Others are streamed."""

Fetched = Future[bytes] | None
"""The bytes of a file that was fetched ahead; None for one that is read in its turn."""

Locate = Callable[[str], str]
"""Returns the form to open of a recorded URI, as in `SourceContext`."""


class RegionFile(NamedTuple):
    """One file: its recorded URI, the form to open, and its folder, "" or "a/b/", below the listed one.

    `size` is its length in bytes, if it was listed.
    """

    uri: str
    location: str
    folder: str
    size: int | None = None


def format_of(regions: Regions) -> RegionFormat:
    """Return the format of recorded regions; raises SourceError if this version does not know it."""
    try:
        return FORMATS[regions.format]
    except KeyError:
        raise SourceError(
            f"{regions.uri} has regions of the format {regions.format!r}, which this version does not know: "
            f"it knows {', '.join(FORMATS)}"
        ) from None


def options_of(regions: Regions) -> RegionOptions:
    """Return what to take from the files."""
    return RegionOptions(regions.level, regions.categories)


def files_of(
    regions: Regions, storage: Storage, locate: Locate, passed_over: Counter[str]
) -> Iterator[RegionFile]:
    """Yield the files in the order of their URIs as UTF-8; those in workspaces and hidden ones are left out.

    Args:
        passed_over: counts, by reason, what is left out

    Raises:
        SourceError: the files cannot be listed
    """
    location = locate(regions.uri)
    if not regions.uri.endswith("/"):
        yield RegionFile(regions.uri, location, "")
        return
    location, store = location.rstrip("/") + "/", storage.at(location)
    inner = InnerWorkspaces(location, store, passed_over)
    extensions = format_of(regions).extensions
    with failing_as(SourceError, f"{regions.uri} cannot be listed"):
        for uri, size in store.objects(location.rstrip("/") or "/"):
            key = uri.removeprefix(location)
            if inner.hold(key):
                continue
            reason = _reason_to_pass_over(key, extensions)
            if reason:
                passed_over[reason] += 1
            else:
                folder = key.rpartition("/")[0] + "/" if "/" in key else ""
                yield RegionFile(regions.uri + key, uri, folder, size)


def fetched_ahead(
    files: Iterator[RegionFile], storage: Storage, threads: ThreadPoolExecutor
) -> Iterator[tuple[RegionFile, Fetched]]:
    """Yield the files in their order; the small remote ones are fetched AHEAD of their turn."""
    pending: deque[tuple[RegionFile, Fetched]] = deque()
    for file in files:
        is_small = is_remote(file.location) and file.size is not None and file.size <= AHEAD_BYTES
        read = storage.at(file.location).read
        pending.append((file, threads.submit(read, file.location, MAX_FILE_BYTES) if is_small else None))
        if len(pending) > AHEAD or not is_small:
            yield pending.popleft()
    yield from pending


@contextlib.contextmanager
def opened(file: RegionFile, storage: Storage, fetched: Fetched = None) -> Iterator[Readable]:
    """Open a file for a block, whose errors are as those of a block `naming` it.

    Args:
        fetched: its bytes, from `fetched_ahead`
    """
    with naming(file, storage):
        if fetched:
            yield BytesIO(fetched.result())
            return
        with storage.at(file.location).reader(file.location) as stream:
            yield _Bounded(stream)


@contextlib.contextmanager
def naming(file: RegionFile, storage: Storage) -> Iterator[None]:
    """Let the errors of a block that reads a file name it.

    Raises:
        SourceError: the file cannot be read, is too long, or as `RegionFormat.pages`
        StorageUnavailableError: storage is away, so reading it again may help
    """
    try:
        yield
    except SourceError as error:
        raise type(error)(f"{file.uri}: {error}") from error
    except StorageError as error:
        if isinstance(error, StorageUnavailableError) and not answers(
            storage.at(file.location), file.location
        ):
            raise
        raise SourceError(f"{file.uri} cannot be read: {error}") from error


def pages_of(
    file: RegionFile, regions: Regions, storage: Storage, fetched: Fetched = None
) -> Iterator[PageRegions]:
    """Yield the pages that a file describes; its errors name it.

    Args:
        fetched: as for `opened`

    Raises:
        SourceError, StorageUnavailableError: as `naming`
    """
    known = format_of(regions)
    with opened(file, storage, fetched) as stream:
        for page in known.pages(stream, options_of(regions)):
            yield page._replace(regions=_named(file, page.regions, storage))
            for _ in page.regions:  # those of a page that the caller has passed over
                pass


def _named(file: RegionFile, regions: Iterator[Region], storage: Storage) -> Iterator[Region]:
    with naming(file, storage):
        yield from regions


class _Bounded:
    def __init__(self, stream: Readable) -> None:
        self._stream, self._count = stream, 0

    def read(self, size: int = -1, /) -> bytes:
        data = self._stream.read(size if size >= 0 else MAX_FILE_BYTES + 1)
        self._count += len(data)
        if self._count > MAX_FILE_BYTES:
            raise SourceError(f"it is longer than {MAX_FILE_BYTES:,} bytes: split it into several files")
        return data


def _reason_to_pass_over(key: str, extensions: frozenset[str]) -> str | None:
    if not key or key.endswith("/"):
        return "placeholder"
    if any(part.startswith(".") for part in key.split("/")):
        return "hidden"
    return None if posixpath.splitext(key)[1].lower() in extensions else "other_extension"
