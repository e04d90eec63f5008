"""The interface of region formats: regions out of a file, and their texts back into a copy of it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Literal, NamedTuple, Protocol

from contract.region import Region

Level = Literal["region", "line", "word"]
"""Which of a format's nested regions are read."""


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

    `image` is the image's name as the file gives it, relative to the source; `page` is the page of a
    document, counted from 1. `image` is None for a template, whose regions lie on every page of the source.
    """

    image: str | None
    regions: Iterator[Region]
    page: int | None = None


class RegionText(NamedTuple):
    """What was read in a region; `confidence` is in 0..1."""

    value: str
    confidence: float


Texts = Callable[[str | None, int | None, str], RegionText | None]
"""Returns what was read in a region: takes its page's image and page number, and its name."""


class RegionFormat(Protocol):
    """One format; its module's name is what users write before the colon."""

    @property
    def extensions(self) -> frozenset[str]:
        """Extensions of its files in a folder, in lower case."""

    @property
    def levels(self) -> tuple[Level, ...]:
        """The levels that it has, the usual one first; none if its regions are not nested."""

    def pages(self, file: BinaryIO, options: RegionOptions) -> Iterator[PageRegions]:
        """Yield the pages that a file describes, in its order. A region that is malformed has a `fault`.

        Raises:
            SourceError: the file is not of this format, or damaged
        """

    def write(self, file: BinaryIO, options: RegionOptions, texts: Texts, target: BinaryIO) -> None:
        """Write a copy of the file with texts and confidences where the format has a place for them.

        What has no text stays as it is, byte for byte where the format allows it.

        Raises:
            SourceError: as `pages`
        """
