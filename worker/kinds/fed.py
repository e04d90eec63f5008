"""The first step of the kinds that read crops, in feeders: the same crops as `worker.kinds.crops` makes."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import TypeVar

from contract.errors import ItemError
from contract.records import Item
from worker.feeders.answers import Fed
from worker.feeders.feeding import Feeding
from worker.feeders.groups import Group
from worker.feeders.protocol import Feed
from worker.kernels.pieces import Pieces, PieceShape, PreparedCrop
from worker.kernels.pixels import Pixels
from worker.kinds.crops import Crops, Cut, Fetched, Prepare, PreparedCrops, fetched_ahead
from worker.pipeline.run import ChunkRun

R = TypeVar("R")


def fed_pieces(
    items: Sequence[Item],
    prepare: Prepare[PreparedCrop],
    shape: PieceShape | None,
    run: ChunkRun,
    feeding: Feeding,
) -> Iterator[PreparedCrops]:
    """Yield the crops in groups with their pieces, in order, from feeders.

    Args:
        prepare: makes the pieces that the models take from RGB, (height, width, 3) uint8, where feeders
            cannot
        shape: of the pieces, if feeders may make them; None to leave all to `prepare`
    """

    def finish(crops: Crops, fed: Fed) -> PreparedCrops:
        return crops, _completed(fed, prepare, run) if fed.pixels else fed.pieces

    return _fed(items, finish, shape, run, feeding)


def fed_pixels(items: Sequence[Item], run: ChunkRun, feeding: Feeding) -> Iterator[Cut[Pixels]]:
    """Yield the crops in groups with their pixels, in order, from feeders."""

    def finish(crops: Crops, fed: Fed) -> Cut[Pixels]:
        return crops, [fed.pixels.get(place) for place in range(len(crops.items))]

    return _fed(items, finish, None, run, feeding)


def _fed(
    items: Sequence[Item],
    finish: Callable[[Crops, Fed], R],
    shape: PieceShape | None,
    run: ChunkRun,
    feeding: Feeding,
) -> Iterator[R]:
    """Yield what `finish` makes of each group; it is called by a thread of the feeders."""
    # The members of a shard are read together, by the one process that knows which the chunk has.
    roots = None if any(item.member is not None for item in items) else feeding.roots
    feed = Feed(next(feeding.pool.runs), roots, run.attempt, bool(run.fetchers) and roots is not None, shape)
    size = feeding.group_size(len(items), shape)

    def group_of(items: Sequence[Item], files: Sequence[bytes] | None = None) -> Group:
        run.on_alive()
        return Group(
            items, feed, lambda fed: finish(Crops(items, fed.errors, fed.notes), fed), run.timings.add, files
        )

    if roots is not None:
        groups: Iterator[Group] = (
            group_of(items[start : start + size]) for start in range(0, len(items), size)
        )
    else:
        groups = _groups_of_files(items, size, group_of, run)
    return feeding.fed(groups, run.window // size, run.stop.is_set, run.on_alive)


def _groups_of_files(
    items: Sequence[Item],
    size: int,
    group_of: Callable[[Sequence[Item], Sequence[bytes]], Group],
    run: ChunkRun,
) -> Iterator[Group]:
    """Yield groups whose files are read by this process."""
    fetched: Iterator[Fetched]
    if run.fetchers:
        fetched = fetched_ahead(items, run, run.fetchers)
    else:
        fetched = ((item, run.fetched(item)) for item in items)
    while some := list(islice(fetched, size)):
        files = [file if isinstance(file, bytes) else b"" for _, file in some]
        group = group_of([item for item, _ in some], files)
        for place, (item, file) in enumerate(some):
            if not isinstance(file, bytes):
                group.take([place], _known(item, file, run))
        yield group


def _known(item: Item, file: Path | ItemError, run: ChunkRun) -> Fed:
    """Return an item that no feeder reads: one without a file, or a page of a document.

    Documents have child processes of their own.
    """
    image = file if isinstance(file, ItemError) else run.decoded(item, file)
    if isinstance(image, ItemError):
        return Fed.failed(image)
    return Fed(Pieces([], [0]), {0: image.pixels}, {0: image.note} if image.note else {})


def _completed(fed: Fed, prepare: Prepare[PreparedCrop], run: ChunkRun) -> Pieces:
    """Return the pieces of all items, with those that are made here of the pixels of some."""
    started = time.perf_counter()
    crops: list[PreparedCrop | None] = []
    for place, (start, end) in enumerate(fed.pieces.bounds()):
        if place in fed.pixels:
            crops.append(prepare(fed.pixels[place]))
        elif place in fed.errors:
            crops.append(None)
        else:
            crops.append(PreparedCrop(list(fed.pieces.samples[start:end]), fed.pieces.maps.get(place, [0])))
    run.timings.add("preprocess", time.perf_counter() - started)
    return Pieces.of(crops)
