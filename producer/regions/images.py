"""The images that files of regions name, found below the job's source."""

import posixpath
import re
from collections.abc import Iterator
from typing import NamedTuple

from contract.documents import is_document, page_id
from contract.errors import ObjectMissingError, SourceError, StorageError, StorageUnavailableError
from contract.records import MAX_TEXT
from contract.source import Source
from contract.storage import Storage
from producer.regions.base import document_page
from producer.regions.files import Locate, RegionFile

IMAGES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".webp", ".bmp", ".pdf")
"""Extensions that are tried, in this order, for a page whose file does not name its image."""

MARK = re.compile(r"[#&]r=")
"""What region ids have between the page and the region: no image's name may hold it, or two ids could be
equal."""


class FoundImage(NamedTuple):
    """A page's image; `id` is that of the page."""

    id: str
    uri: str
    page: int | None


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
