"""The pictures of a report's crops, as data URLs: bounded, and only from below the allowed roots."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from PIL import Image

from contract.documents import is_document
from contract.errors import ItemError, ObjectMissingError, StorageError
from contract.images import decode_rgb
from contract.records import Item
from contract.shards.reading import file_of
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace
from producer.results.picturing import box_of_region
from producer.results.rendering import data_url, picture_url
from producer.results.samples import media_type_of

MAX_FILE_BYTES = 8 << 20
"""Maximum bytes of a crop's file that is opened for its picture."""

MAX_RAW_BYTES = 48 << 10
"""Maximum bytes of a file that is embedded as it is, without being decoded here; most crops have a tenth."""

MAX_PIXELS = 4_000_000
"""Maximum pixels of a larger file, or one that browsers do not show, that is decoded for its picture."""

MAX_SIDE = 640
"""Maximum pixels of such a picture's longer side."""

MAX_TOTAL = 8 << 20
"""Maximum characters of all pictures of a report: it is opened on phones too."""

MAX_PAGE_BYTES = 32 << 20
"""Maximum bytes of a page's file that regions are cut out of for their pictures."""

MAX_PAGE_PIXELS = 40_000_000
"""Maximum pixels of such a page: A4 at 600 dots per inch has 35 million."""

MAX_PAGES = 60
"""Maximum pages of a report that are decoded: some ten seconds of the merge."""

FETCHED = 8
"""Crops fetched at once, to hide S3's latency."""


@dataclass(frozen=True)
class Picture:
    """A crop's picture, or the reason why there is none."""

    url: str = ""
    missing: str = ""


TOO_MANY_PAGES = Picture(missing="left out, since the report has regions of many pages")


def pictures_of(
    wanted: Sequence[tuple[str, int]], workspace: Workspace, storage: Storage, roots: AllowedRoots | None
) -> list[Picture]:
    """Return the pictures of some of a job's items; of regions what is cut out of their pages.

    Args:
        wanted: id and chunk of each item
        roots: where the pictures may come from; None for anywhere
    """
    items = _items(wanted, workspace)
    regions = _regions([items[identity] for identity, _ in wanted if identity in items], storage, roots)

    def picture(identity: str) -> Picture:
        item = items.get(identity)
        if item is None:
            return Picture(missing="its item is not in its chunk")
        return regions[identity] if item.region else _picture(item, storage, roots)

    with ThreadPoolExecutor(FETCHED, thread_name_prefix="pictures") as threads:
        return list(_within_total(threads.map(picture, (identity for identity, _ in wanted))))


def _items(wanted: Sequence[tuple[str, int]], workspace: Workspace) -> dict[str, Item]:
    """Return the wanted items by id, reading each chunk once."""
    chunks: dict[int, set[str]] = {}
    for identity, chunk in wanted:
        chunks.setdefault(chunk, set()).add(identity)
    return {
        item.id: item
        for chunk, identities in chunks.items()
        for item in _or_none(workspace.items, chunk)
        if item.id in identities
    }


def _or_none(items: Callable[[int], list[Item]], chunk: int) -> list[Item]:
    try:
        return items(chunk)
    except ObjectMissingError:
        return []


def _picture(item: Item, storage: Storage, roots: AllowedRoots | None) -> Picture:
    try:
        data = file_of(item, storage, roots, MAX_FILE_BYTES)
        media_type = media_type_of(data)
        if media_type and len(data) <= MAX_RAW_BYTES:
            return Picture(data_url(data, media_type))
        image = decode_rgb(data, MAX_PIXELS).image
    except (StorageError, ItemError) as error:
        return Picture(missing=str(error))
    return _shown(image)


def _shown(image: Image.Image) -> Picture:
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    return Picture(picture_url(image))


def _regions(items: Sequence[Item], storage: Storage, roots: AllowedRoots | None) -> dict[str, Picture]:
    """Return the pictures of the items that are regions, by id; each page is decoded once, one at a time."""
    pages: dict[tuple[str, int | None], list[Item]] = {}
    for item in items:
        if item.region is not None:
            pages.setdefault((item.uri, item.page), []).append(item)
    pictures: dict[str, Picture] = {}
    for number, regions in enumerate(pages.values()):
        page = _page(regions[0], storage, roots) if number < MAX_PAGES else TOO_MANY_PAGES
        pictures.update(
            (item.id, page if isinstance(page, Picture) else _cut(page, item)) for item in regions
        )
    return pictures


def _page(item: Item, storage: Storage, roots: AllowedRoots | None) -> Image.Image | Picture:
    """Return the page of a region, or the reason why there is none. Documents are not opened here."""
    if (item.page or 1) > 1 or is_document(item.uri):
        return Picture(missing=f"its page is in a document: trace-ocr view shows {item.id}")
    try:
        location = item.uri if roots is None else roots.resolved(item.uri)
        data = storage.at(location).read(location, MAX_PAGE_BYTES)
        return decode_rgb(data, MAX_PAGE_PIXELS).image
    except (StorageError, ItemError) as error:
        return Picture(missing=str(error))


def _cut(page: Image.Image, item: Item) -> Picture:
    """Return the picture of a region: of a polygon the box around it, so that it shows what was cut."""
    assert item.region is not None
    box = box_of_region(item.region, page.width, page.height)
    if box is None:
        return Picture(missing="its page does not have it any more")
    return _shown(page.crop(box))


def _within_total(pictures: Iterable[Picture]) -> Iterator[Picture]:
    left = MAX_TOTAL
    for picture in pictures:
        left -= len(picture.url)
        yield picture if left >= 0 else Picture(missing="left out, since the report has many pictures")
