"""The first step of the kinds that read crops, for a chunk that has regions of pages.

The regions of one page that follow each other are one fetch and one decoding. Each page is held until the
last of them is cut out.
"""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain, groupby

import structlog

from contract.errors import ItemError
from contract.records import Item
from worker.images.decode import DecodedImage, File, check_shape
from worker.kernels.pixels import Pixels
from worker.kernels.regions import cut_region
from worker.kinds.crops import Crops, Cut, Made, Prepare, group_size
from worker.pipeline.ahead import ahead
from worker.pipeline.run import ChunkRun

FETCHED = 2
"""Remote pages fetched ahead, for each one that may be decoded ahead."""

Fetched = tuple[list[Item], File | ItemError | None]
"""Items of one image with its file; without one that is read as fast as it is handed over."""

Decoded = tuple[list[Item], DecodedImage | ItemError]
"""Items of one image with its pixels, or with its error."""


@dataclass(slots=True)
class _Portion:
    """Some items of one image; the image is dropped once they are cut out."""

    items: Sequence[Item]
    image: DecodedImage | ItemError | None


def prepared_regions(
    items: Sequence[Item], prepare: Prepare[Made], run: ChunkRun, padding: float
) -> Iterator[Cut[Made]]:
    """Yield the regions in groups with what is made of each, in order, from the pool's threads.

    An item without a region is a crop. The number of decoded pages is counted as `pages`.

    Args:
        prepare: makes the pieces that the models take from RGB, (height, width, 3) uint8
        padding: what is added on each side of a region, as a share of its height
    """
    pages = (list(group) for _, group in groupby(items, _page_of))
    # Files of pages are larger than crops: fewer wait to be decoded than of those.
    fetched = (
        ahead(run.fetchers, partial(_fetched, run), pages, FETCHED * run.page_window)
        if run.fetchers
        else ((page, None) for page in pages)
    )
    decoded = ahead(run.pool, partial(_decoded, run), fetched, run.page_window)
    size = group_size(run)
    portions = chain.from_iterable(_portions(page, image, size, run) for page, image in decoded)
    return ahead(run.pool, partial(_cut, prepare, run, padding), portions, max(1, run.window // size))


def _page_of(item: Item) -> object:
    """Return what regions of one page have in common; an item without one is alone."""
    return (item.uri, item.page) if item.region is not None else item.id


def _fetched(run: ChunkRun, page: list[Item]) -> Fetched:
    return page, run.fetched(page[0])


def _decoded(run: ChunkRun, fetched: Fetched) -> Decoded:
    page, file = fetched
    run.on_alive()
    return page, run.decoded(page[0], run.fetched(page[0]) if file is None else file)


def _portions(
    items: list[Item], image: DecodedImage | ItemError, size: int, run: ChunkRun
) -> Iterator[_Portion]:
    first = items[0]
    if first.region is not None and isinstance(image, ItemError):
        structlog.get_logger().warning(
            "page_unreadable", uri=first.uri, page=first.page, regions=len(items), error=image.message
        )
    elif first.region is not None:
        run.timings.count("pages", 1)
    for start in range(0, len(items), size):
        yield _Portion(items[start : start + size], image)


def _cut(prepare: Prepare[Made], run: ChunkRun, padding: float, portion: _Portion) -> Cut[Made]:
    image, portion.image = portion.image, None
    assert image is not None
    crops = Crops(portion.items)
    if isinstance(image, ItemError):
        run.on_alive()
        crops.errors = dict.fromkeys(range(len(portion.items)), image)
        return crops, [None] * len(portion.items)
    if image.note:
        crops.notes = dict.fromkeys(range(len(portion.items)), image.note)
    pixels = image.pixels
    return crops, [_made(crops, place, pixels, prepare, run, padding) for place in range(len(portion.items))]


def _made(
    crops: Crops, place: int, pixels: Pixels, prepare: Prepare[Made], run: ChunkRun, padding: float
) -> Made | None:
    run.on_alive()
    region = crops.items[place].region
    started = time.perf_counter()
    try:
        if region is not None:
            pixels = cut_region(pixels, region, padding)
            check_shape(pixels)
    except ItemError as error:
        crops.errors[place] = error
        return None
    finally:
        cut = time.perf_counter()
        run.timings.add("crop", cut - started)
    made = prepare(pixels)
    run.timings.add("preprocess", time.perf_counter() - cut)
    return made
