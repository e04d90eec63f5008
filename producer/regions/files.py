"""The files of a job's regions: listed in order, opened, and their images found below the job's source."""

import contextlib
import posixpath
import re
from collections import Counter, deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from io import BytesIO
from typing import NamedTuple

from contract.documents import is_document, page_id
from contract.errors import ObjectMissingError, SourceError, StorageError, StorageUnavailableError
from contract.inner_workspaces import InnerWorkspaces
from contract.job import Regions, Source
from contract.records import MAX_TEXT
from contract.region import Region
from contract.storage import Storage, answers, is_remote
from producer.regions import FORMATS
from producer.regions.base import PageRegions, Readable, RegionFormat, RegionOptions, document_page

MAX_FILE_BYTES = 1 << 30
"""Size limit of one file in bytes: the hOCR of a book of a thousand pages has a tenth of it."""

AHEAD = 16
"""Remote files fetched ahead of their turn, to hide latency: without that, S3 gives some twenty a second."""

AHEAD_BYTES = 1 << 20
"""Maximum bytes of a file that is fetched ahead: those of one page have a tenth. Others are streamed."""

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".pdf")
"""Extensions that are tried, in this order, for a page whose file does not name its image."""

MARK = re.compile(r"[#&]r=")
"""What region ids have between the page and the region: no image's name may hold it, or two ids could be
equal."""

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


class FoundImage(NamedTuple):
    """A page's image; `id` is that of the page."""

    id: str
    uri: str
    page: int | None


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
    try:
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
    except StorageUnavailableError:
        raise
    except StorageError as error:
        raise SourceError(f"{regions.uri} cannot be listed: {error}") from error


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


class Images:
    """Finds the images that region files name, below the job's source.

    A name is looked for in the file's folder, then in each folder above it up to the source's root. A file
    that lies elsewhere is taken as if its folder were listed at the root. If no image has the name, its last
    part is looked for in the same way; that is all that counts of a name that is absolute, a URL, or leads
    out of the source. A page whose file names no image has the image with the file's own name. An image that
    is nowhere becomes the first place that was looked at, so that its regions end as not found.
    """

    def __init__(self, source: Source, storage: Storage, locate: Locate) -> None:
        is_file = source.type == "file"
        self._root = (source.uri.rpartition("/")[0] if is_file else source.uri.rstrip("/")) + "/"
        self._only = source.uri.rpartition("/")[2] if is_file else None
        self._storage, self._locate = storage, locate
        self._store = storage.at(source.uri)

    def find(self, file: RegionFile, image: str, page: int | None) -> FoundImage | None:
        """Return a page's image, or None if the source is one file and the image is another one.

        Raises:
            SourceError: the image's name has `#r=`, or is too long
        """
        image, named = document_page(image)
        page = named or page
        names = [*dict.fromkeys(self._names(file, image))]
        if self._only is not None:
            is_it = any(name.rpartition("/")[2] == self._only for name in names)
            return self._found(self._only, page) if is_it else None
        key = next(filter(self._exists, names), names[0]) if len(names) > 1 else names[0]
        return self._found(key, page)

    def _found(self, key: str, page: int | None) -> FoundImage:
        uri = self._root + key
        if MARK.search(key) or len(uri) > MAX_TEXT:
            raise SourceError(
                f"the image {key[:MAX_TEXT]!r} cannot have regions: give it a shorter, plain name"
            )
        if not is_document(key):
            return FoundImage(key, uri, None)
        number = page or (1 if key.lower().endswith(".pdf") else None)
        return FoundImage(key if number is None else page_id(key, number), uri, number)

    def _names(self, file: RegionFile, image: str) -> Iterator[str]:
        """Yield the names below the source's root to look for, in order."""
        folders = [*_upwards(self._folder_of(file))]
        for name in _spellings(image) or _named_as(file):
            for folder in folders:
                key = posixpath.normpath(folder + name)
                if key != ".." and not key.startswith(("../", "/")):
                    yield key

    def _folder_of(self, file: RegionFile) -> str:
        folder = file.uri.rpartition("/")[0] + "/"
        return folder.removeprefix(self._root) if folder.startswith(self._root) else file.folder

    def _exists(self, key: str) -> bool:
        try:
            self._store.size(self._locate(self._root + key))
        except ObjectMissingError:
            return False
        except StorageUnavailableError:
            raise
        except StorageError:
            return True  # the worker says why it cannot be read
        return True


def _upwards(folder: str) -> Iterator[str]:
    """Yield "a/b/", "a/", "" for "a/b/"."""
    while folder:
        yield folder
        folder = folder[: folder.rstrip("/").rfind("/") + 1]
    yield ""


def _spellings(image: str) -> list[str]:
    """Return the name, with Windows' backslashes turned, and its last part; none for an empty name."""
    name = image.strip().replace("\\", "/").removeprefix("./")
    last = name.rpartition("/")[2]
    is_relative = not name.startswith("/") and not re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", name)
    return [one for one in dict.fromkeys([name, last] if is_relative else [last]) if one and one != ".."]


def _named_as(file: RegionFile) -> list[str]:
    stem = posixpath.splitext(file.uri.rpartition("/")[2])[0]
    whole = [stem] if stem.lower().endswith(IMAGES) else []
    return [*whole, *(stem + extension for extension in IMAGES)]


def _reason_to_pass_over(key: str, extensions: frozenset[str]) -> str | None:
    if not key or key.endswith("/"):
        return "placeholder"
    if any(part.startswith(".") for part in key.split("/")):
        return "hidden"
    return None if posixpath.splitext(key)[1].lower() in extensions else "other_extension"
