"""The pictures of a report's crops, as data URLs: bounded, and only from below the allowed roots."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from contract.errors import ItemError, ObjectMissingError, StorageError
from contract.images import decode_rgb
from contract.records import Item
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from contract.workspace import Workspace
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

FETCHED = 8
"""Crops fetched at once, to hide S3's latency."""


@dataclass(frozen=True)
class Picture:
    """A crop's picture, or the reason why there is none."""

    url: str = ""
    missing: str = ""


def pictures_of(
    wanted: Sequence[tuple[str, int]], workspace: Workspace, storage: Storage, roots: AllowedRoots | None
) -> list[Picture]:
    """Return the pictures of some of a job's items.

    Args:
        wanted: id and chunk of each item
        roots: where the pictures may come from; None for anywhere
    """
    items = _items(wanted, workspace)

    def picture(identity: str) -> Picture:
        item = items.get(identity)
        return _picture(item, storage, roots) if item else Picture(missing="its item is not in its chunk")

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
        location = item.uri if roots is None else roots.resolved(item.uri)
        data = storage.at(location).read(location, MAX_FILE_BYTES)
        media_type = media_type_of(data)
        if media_type and len(data) <= MAX_RAW_BYTES:
            return Picture(data_url(data, media_type))
        image = decode_rgb(data, MAX_PIXELS).image
    except (StorageError, ItemError) as error:
        return Picture(missing=str(error))
    image.thumbnail((MAX_SIDE, MAX_SIDE))
    return Picture(picture_url(image))


def _within_total(pictures: Iterable[Picture]) -> Iterator[Picture]:
    left = MAX_TOTAL
    for picture in pictures:
        left -= len(picture.url)
        yield picture if left >= 0 else Picture(missing="left out, since the report has many pictures")
