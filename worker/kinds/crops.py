"""The first step of the kinds that read crops: fetch, decode and prepare them ahead of the models."""

import time
from collections.abc import Callable, Iterator, Sequence
from itertools import chain, islice
from typing import TypeVar

import msgspec

from contract.errors import ItemError
from contract.records import Item
from worker.images.decode import File
from worker.kernels.pieces import PreparedCrop
from worker.kernels.pixels import Pixels
from worker.pipeline.ahead import ahead
from worker.pipeline.run import ChunkRun

GROUP = 32
"""Items that one pool task prepares: submitting a task costs some 30 us, a third of preparing a crop."""

GROUPS_AHEAD = 8
"""Minimum tasks per window: groups shrink to allow this many, so that no thread waits for another."""

FETCHED_BYTES = 4 << 20
"""Bytes of files that a task fetches before it decodes them: a thousand crops, or one large image. System
calls between two crops evict the decoder's data from the caches: fetching together saves a third of the
time."""


class Crop(msgspec.Struct, frozen=True):
    """An item in a pipeline of crops: its note, and by how many degrees it was turned; or its error."""

    item: Item
    error: ItemError | None = None
    note: str | None = None
    angle: int | None = None


Made = TypeVar("Made")
Fetched = tuple[Item, File | ItemError]
PreparedItem = tuple[Crop, list[PreparedCrop]]
"""A crop with its pieces; without any if it has an error."""

Prepare = Callable[[Pixels], Made]
"""Makes what comes next from RGB, (height, width, 3) uint8: for the models, a `PreparedCrop`."""


def prepared_crops(
    items: Sequence[Item], prepare: Prepare[Made], run: ChunkRun
) -> Iterator[tuple[Crop, list[Made]]]:
    """Yield each crop with its pieces, in order, from the pool's threads.

    Args:
        prepare: makes the pieces that the models take from RGB, (height, width, 3) uint8
    """
    size = group_size(run)
    groups: Iterator[list[Item | Fetched]]
    if run.fetchers:
        fetched = ahead(run.fetchers, lambda item: (item, run.fetched(item)), items, run.fetch_window)
        groups = _groups(fetched, size)
    else:
        groups = _groups(iter(items), size)
    ready = ahead(run.pool, lambda group: _group(group, prepare, run), groups, run.window // size)
    return chain.from_iterable(ready)


def group_size(run: ChunkRun) -> int:
    """Return the items that one pool task prepares."""
    return max(1, min(GROUP, run.window // GROUPS_AHEAD))


def _group(
    group: Sequence[Item | Fetched], prepare: Prepare[Made], run: ChunkRun
) -> list[tuple[Crop, list[Made]]]:
    prepared: list[tuple[Crop, list[Made]]] = []
    files: list[Fetched] = []
    held = 0
    for one in group:
        files.append((one, run.fetched(one)) if isinstance(one, Item) else one)
        data = files[-1][1]
        held += len(data) if isinstance(data, bytes) else 0
        if held >= FETCHED_BYTES:
            prepared += [_crop(item, file, prepare, run) for item, file in files]
            files, held = [], 0
    return prepared + [_crop(item, file, prepare, run) for item, file in files]


def _crop(
    item: Item, file: File | ItemError, prepare: Prepare[Made], run: ChunkRun
) -> tuple[Crop, list[Made]]:
    # For each crop: a group of large images may take minutes before the first one is yielded.
    run.on_alive()
    image = run.decoded(item, file)
    if isinstance(image, ItemError):
        return Crop(item, image), []
    started = time.perf_counter()
    crop = prepare(image.pixels)
    run.timings.add("preprocess", time.perf_counter() - started)
    return Crop(item, note=image.note), [crop]


def _groups(values: Iterator[Item] | Iterator[Fetched], size: int) -> Iterator[list[Item | Fetched]]:
    return iter(lambda: list(islice(values, size)), [])
