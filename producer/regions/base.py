"""The interface of region formats: regions out of a file, and their texts back into a copy of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from contract.documents import claimed_document
from contract.errors import SourceError, UsageError
from contract.region import MAX_NAME, Level, Region

MAX_REGIONS = 1_000_000
"""Maximum regions of one page: their names are held in memory while the page is read."""


class OtherFormatError(SourceError):
    """The file is intact, but of another format. In a folder of many it is passed over."""


class Readable(Protocol):
    """What a file is read from; it cannot seek."""

    def read(self, size: int = -1, /) -> bytes: ...


class Writable(Protocol):
    """What a copy is written to."""

    def write(self, data: bytes, /) -> int: ...


@dataclass(frozen=True)
class RegionOptions:
    """What to take from a file.

    Args:
        level: for formats that nest regions; None for the format's usual one
        categories: names of the categories to read; none for all
    """

    level: Level | None = None
    categories: tuple[str, ...] = ()


class PageRegions(NamedTuple):
    """The regions of one page, in the order of their file, each with a name that is unique in its page.

    The regions are read to their end before the next page is asked for.

    `image` is the image's name as the file gives it, empty if it gives none; `page` is the page of a
    document, counted from 1. `image` is None for a template, whose regions lie on every page of the source.
    """

    image: str | None
    regions: Iterator[Region]
    page: int | None = None


def read_whole(page: PageRegions) -> Iterator[PageRegions]:
    """Yield a page of a file that is read once, and then read what was left of its regions."""
    yield page
    for _ in page.regions:
        pass


class RegionText(NamedTuple):
    """What was read in a region; `confidence` is in 0..1."""

    value: str
    confidence: float


Texts = Callable[[str | None, int | None, str], RegionText | None]
"""Returns what was read in a region: takes its page's image and page number, and its name."""


class RegionFormat(Protocol):
    """One format; its module's name is what users write before the colon.

    Messages of its errors do not name the file: the caller adds that.
    """

    @property
    def extensions(self) -> frozenset[str]:
        """Extensions of its files in a folder, in lower case."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels that it has, the usual one first; none if its regions are not nested."""

    @property
    def has_categories(self) -> bool:
        """Whether its regions have categories to choose by."""

    @property
    def holds_text(self) -> bool:
        """Whether it has a place for texts, so that `write` can be used."""

    def pages(self, file: Readable, options: RegionOptions) -> Iterator[PageRegions]:
        """Yield the pages that a file describes, in its order. A region that is malformed has a `fault`.

        Raises:
            OtherFormatError: the file is of another format; before the first page
            SourceError: the file is damaged
        """

    def write(self, file: Readable, options: RegionOptions, texts: Texts, target: Writable) -> None:
        """Write a copy of the file with texts and confidences where the format has a place for them.

        What has no text stays as it is, byte for byte where the format allows it.

        Raises:
            SourceError: as `pages`
        """


class WithoutText:
    """What the formats share that have no place for text."""

    holds_text = False

    def write(self, *_: Any, **__: Any) -> None:
        """Raise UsageError."""
        raise UsageError("this format has no place for text: use the job's results")


def document_page(image: str) -> tuple[str, int | None]:
    """Return an image's name, and the page that it names: 2 for `book.pdf#page=2`, as in the ids of items."""
    document = claimed_document(image)
    number = image[len(document or "") :].rpartition("=")[2]
    return (document, int(number)) if document and len(number) < 10 else (image, None)


def is_pdf(image: str) -> bool:
    """Return whether an image's name is that of a PDF, whose pixels are of our making."""
    return document_page(image)[0].lower().endswith(".pdf")


class Names:
    """The names of one page's regions: their own ids, or their numbers for those without a usable one."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        self._count = 0

    def next(self, own: str | None = None) -> str:
        """Return the name of the page's next region; raises SourceError for more than MAX_REGIONS.

        Args:
            own: the region's own id; a repeated or too long one is not used
        """
        self._count += 1
        if self._count > MAX_REGIONS:
            raise SourceError(f"a page has more than {MAX_REGIONS:,} regions")
        name = own if own and len(own) <= MAX_NAME and own not in self._given else str(self._count)
        while name in self._given:
            name += "+"
        self._given.add(name)
        return name
