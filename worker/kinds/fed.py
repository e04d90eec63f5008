"""The first step of the kinds that read crops, in feeders: the same crops as `worker.kinds.crops` makes."""

import time
from collections.abc import Iterator, Sequence
from itertools import chain, islice
from pathlib import Path

from contract.errors import ItemError
from contract.records import Item
from worker.feeders.feeding import Feeding
from worker.feeders.groups import Fed, Group
from worker.feeders.protocol import Feed
from worker.images.decode import File
from worker.kernels.pieces import PieceShape
from worker.kinds.crops import Crop, Made, Prepare
from worker.pipeline.ahead import ahead
from worker.pipeline.run import ChunkRun


def fed_crops(
    items: Sequence[Item], prepare: Prepare[Made], pieces: PieceShape | None, run: ChunkRun, feeding: Feeding
) -> Iterator[tuple[Crop, list[Made]]]:
    """Yield each crop with its pieces, in order, from feeders.

    Args:
        prepare: makes the pieces that the models take from RGB, (height, width, 3) uint8, where feeders
            cannot
        pieces: the pieces that feeders make; None to leave all to `prepare`
    """
    # The members of a shard are read together, by the one process that knows which the chunk has.
    roots = None if any(item.member is not None for item in items) else feeding.roots
    feed = Feed(next(feeding.pool.runs), roots, run.attempt, bool(run.fetchers) and roots is not None, pieces)
    size = feeding.group_size(len(items))
    fetched: Iterator[tuple[Item, File | ItemError | None]] = ((item, None) for item in items)
    if roots is None and run.fetchers:
        fetched = ahead(run.fetchers, lambda item: (item, run.fetched(item)), items, run.fetch_window)
    elif roots is None:
        fetched = ((item, run.fetched(item)) for item in items)
    groups = (_group(group, feed, prepare, run) for group in iter(lambda: list(islice(fetched, size)), []))
    return chain.from_iterable(feeding.fed(groups, run.window // size, run.stop.is_set, run.on_alive))


def _group(
    fetched: Sequence[tuple[Item, File | ItemError | None]],
    feed: Feed,
    prepare: Prepare[Made],
    run: ChunkRun,
) -> Group:
    items = [item for item, _ in fetched]

    def finish(outcomes: list[Fed | ItemError]) -> list[tuple[Crop, list[Made]]]:
        return [_crop(item, one, prepare, run) for item, one in zip(items, outcomes, strict=True)]

    run.on_alive()
    if feed.roots is not None:
        return Group(items, feed, finish, run.timings.add)
    known: dict[int, Fed | ItemError] = {}
    for place, (item, file) in enumerate(fetched):
        if isinstance(file, ItemError):
            known[place] = file
        elif isinstance(file, Path):
            known[place] = _page(item, file, run)
    data = [file if isinstance(file, bytes) else b"" for _, file in fetched]
    return Group(items, feed, finish, run.timings.add, data, known)


def _page(item: Item, path: Path, run: ChunkRun) -> Fed | ItemError:
    """Return a page that is read as a crop; documents have child processes of their own."""
    image = run.decoded(item, path)
    return image if isinstance(image, ItemError) else Fed(image.note, None, image.pixels)


def _crop(
    item: Item, outcome: Fed | ItemError, prepare: Prepare[Made], run: ChunkRun
) -> tuple[Crop, list[Made]]:
    if isinstance(outcome, ItemError):
        return Crop(item, outcome), []
    note, crop, pixels = outcome
    if crop is not None:
        return Crop(item, None, note), [crop]  # type: ignore[list-item]
    assert pixels is not None
    started = time.perf_counter()
    made = prepare(pixels)
    run.timings.add("preprocess", time.perf_counter() - started)
    return Crop(item, None, note), [made]
