"""Regions of a source's pages as items: in the order of the files that describe them, in constant memory."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from contract.errors import SourceError, UsageError
from contract.kinds import KINDS
from contract.records import SHOWN, Item
from contract.region import Level, Region, region_id
from contract.source import SEVERAL, Regions, Source
from contract.storage import Storage, absolute, is_remote, unknown_scheme
from contract.storage.roots import AllowedRoots
from producer.regions import FORMATS
from producer.regions.base import OtherFormatError, PageRegions
from producer.regions.files import AHEAD, Locate, RegionFile, fetched_ahead, files_of, pages_of
from producer.regions.images import MARK, Images
from producer.sources.base import Listing, has_extension
from producer.sources.listing import narrowed, root_of
from producer.sources.seen_ids import PageFiles
from producer.sources.selection import matching

MAX_TEMPLATE = 10_000
"""Maximum regions of a template: they are held in memory and laid over every page."""

Pages = Callable[[], Listing]
"""Returns the pages of the source itself."""


def identify_regions(
    text: str | None, level: Level | None = None, categories: tuple[str, ...] = ()
) -> Regions | None:
    """Return the regions that the user's FORMAT:PATH argument names; None if there is none.

    Raises:
        UsageError: there is no such format or path, or the format has no such level, or no categories
    """
    if text is None:
        if level or categories:
            raise UsageError("level and category choose among regions: give FORMAT:PATH of those too")
        return None
    name, separator, path = text.partition(":")
    if not separator or name not in FORMATS or not path:
        raise UsageError(f"regions {text[:SHOWN]!r}: give FORMAT:PATH, with a format of {', '.join(FORMATS)}")
    known = FORMATS[name]
    if level and level not in known.levels:
        raise UsageError(f"regions of the format {name} have no level {level}: {_levels(known.levels)}")
    if categories and not known.has_categories:
        raise UsageError(f"regions of the format {name} have no categories")
    return Regions(format=name, uri=_located(path, known.extensions), level=level, categories=categories)


def check_regions(source: Source, kind: str) -> None:
    """Raise UsageError if jobs of a kind, or the type of source, cannot have the source's regions."""
    if source.regions is None:
        return
    if KINDS[kind].unit != "crop":
        kinds = " and ".join(name for name, one in KINDS.items() if one.unit == "crop")
        raise UsageError(f"{kind} jobs find the regions of pages themselves: {kinds} jobs take given ones")
    if any(part.type == "shards" for part in source.parts or (source,)):
        raise UsageError(
            f"{source.uri[:SHOWN]} is of shards, of which no regions are read: unpack it, or pack the crops"
        )
    if source.type in ("manifest", "inventory", SEVERAL) and not source.has_template:
        lists = {"manifest": "a manifest", "inventory": "an inventory report"}
        what = lists.get(source.type, "several sources")
        raise UsageError(
            f"{source.uri} is {what}: with regions of the format {source.regions.format}, SOURCE is the "
            "folder, prefix or file of the images that they name"
        )


def list_regions(
    source: Source, storage: Storage, locate: Locate, pages: Pages, roots: AllowedRoots | None = None
) -> Listing:
    """Return the regions of a source's pages as items; reading starts when the first item is requested.

    Args:
        pages: called for a template only
        roots: what images must lie below for their fingerprints; None if all may be looked at

    Raises (while iterating):
        SourceError: a file cannot be read or is damaged, or two of them describe the same page
    """
    assert source.regions is not None
    described = _Described(source, source.regions, storage, locate)
    if source.has_template:
        listing = pages()
        passed_over, items = listing.passed_over, described.over(listing)
    else:
        passed_over, items = described.passed_over, described.items()
        if source.selection:
            items = matching(items, source.selection, root_of(source), passed_over)
    return Listing(narrowed(items, source, storage, passed_over, roots), passed_over)


class _Described:
    """The regions that the files describe."""

    def __init__(
        self,
        source: Source,
        regions: Regions,
        storage: Storage,
        locate: Locate,
    ) -> None:
        self._source, self._regions = source, regions
        self._storage, self._locate = storage, locate
        self.passed_over: Counter[str] = Counter()

    def items(self) -> Iterator[Item]:
        """Yield the items of all pages that the files describe."""
        images = Images(self._source, self._storage, self._locate)
        with PageFiles() as seen:
            for file, page in self._pages():
                image = images.find(file, page.image or "", page.page)
                if image is None:
                    self.passed_over["other_image"] += 1
                    continue
                first = seen.add(image.id, file.uri)
                if first is not None:
                    raise SourceError(
                        f"{first} and {file.uri} describe the same page {image.id!r}: results are joined on "
                        "ids, so describe each page once"
                    )
                yield from _items(Item(image.id, image.uri, page=image.page), page.regions)

    def over(self, listing: Listing) -> Iterator[Item]:
        """Yield the regions of the template for each page of a listing."""
        template: list[Region] = []
        for _, page in self._pages():
            template.extend(page.regions)
            if len(template) > MAX_TEMPLATE:
                raise SourceError(f"{self._regions.uri}: a template has at most {MAX_TEMPLATE:,} regions")
        for item in listing:
            if MARK.search(item.id) or item.region:
                raise SourceError(
                    f"no template can be laid over {item.id!r}: it is a region itself, or its id has '#r='"
                )
            yield from _items(item, template)

    def _pages(self) -> Iterator[tuple[RegionFile, PageRegions]]:
        files = files_of(self._regions, self._storage, self._locate, self.passed_over)
        with ThreadPoolExecutor(AHEAD, thread_name_prefix="regions") as threads:
            for file, fetched in fetched_ahead(files, self._storage, threads):
                try:
                    for page in pages_of(file, self._regions, self._storage, fetched):
                        yield file, page
                except OtherFormatError:
                    if not self._regions.uri.endswith("/"):
                        raise
                    self.passed_over["other_format"] += 1


def _items(page: Item, regions: Iterable[Region]) -> Iterator[Item]:
    for region in regions:
        assert region.name is not None
        identity = region_id(page.id, region.name)
        yield msgspec.structs.replace(page, id=identity, label=None, region=region)


def _levels(levels: tuple[Level, ...]) -> str:
    return f"it has {', '.join(levels)}" if levels else "its regions are not nested"


def _located(path: str, extensions: frozenset[str]) -> str:
    """Return the canonical URI of a file, or of a folder or prefix, with a slash at its end."""
    if is_remote(path):
        return absolute(path) if has_extension(path, extensions) else absolute(path).rstrip("/") + "/"
    if "://" in path:
        raise UsageError(f"{path[:SHOWN]}: {unknown_scheme(path)}")
    try:
        location = os.path.realpath(path)
        is_folder, is_file = Path(location).is_dir(), Path(location).is_file()
    except (OSError, ValueError) as error:
        raise UsageError(f"{path[:SHOWN]!r} is not a valid path: {error}") from error
    if not is_folder and not is_file:
        raise UsageError(f"there is no folder or file {path[:SHOWN]} with regions")
    return location.rstrip("/") + "/" if is_folder else location
