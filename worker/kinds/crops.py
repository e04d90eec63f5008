"""The first step of the kinds that read crops: fetch, decode and prepare them ahead of the models."""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from contract.errors import ItemError
from contract.records import Item
from contract.shards import SHARDS
from worker.images.decode import File
from worker.kernels.pieces import Pieces
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


FETCHED_TOGETHER = 1 << 18
"""Bytes of members of shards that one task fetches: one request reads many of them, and to hand each over to
the task that decodes it would take longer than to read it."""


@dataclass(slots=True)
class Crops:
    """Some items that follow each other, in a pipeline of crops; what is said of few of them is by place.

    Args:
        items: the items
        errors: of items that cannot be read
        notes: of items whose file has more than was read
        angles: by how many degrees items were turned
    """

    items: Sequence[Item]
    errors: dict[int, ItemError] = field(default_factory=dict)
    notes: dict[int, str] = field(default_factory=dict)
    angles: dict[int, int] = field(default_factory=dict)

    def error(self, place: int, reading: ItemError | None) -> ItemError:
        """Return why an item has no line: it cannot be read, or else the model fails on it."""
        return self.errors[place] if reading is None else reading


Made = TypeVar("Made")
Fetched = tuple[Item, File | ItemError]

Cut = tuple[Crops, list[Made | None]]
"""Crops with what was made of each; None for one with an error."""

PreparedCrops = tuple[Crops, Pieces]
"""Crops with the pieces of each."""

Prepare = Callable[[Pixels], Made]
"""Makes what comes next from RGB, (height, width, 3) uint8: for the models, a `PreparedCrop`."""


def prepared_crops(items: Sequence[Item], prepare: Prepare[Made], run: ChunkRun) -> Iterator[Cut[Made]]:
    """Yield the crops in groups with what is made of each, in order, from the pool's threads.

    Args:
        prepare: makes the pieces that the models take from RGB, (height, width, 3) uint8
    """
    size = group_size(run)
    groups: Iterator[list[Item | Fetched]]
    if run.fetchers:
        groups = _groups(fetched_ahead(items, run, run.fetchers), size)
    else:
        groups = _groups(iter(items), size)
    return ahead(run.pool, lambda group: _group(group, prepare, run), groups, run.window // size)


def fetched_ahead(items: Sequence[Item], run: ChunkRun, fetchers: Executor) -> Iterator[Fetched]:
    """Yield the items in order with their files, which the fetchers read ahead."""

    def fetch(some: Sequence[Item]) -> list[Fetched]:
        return [(item, run.fetched(item)) for item in some]

    for some in ahead(fetchers, fetch, _fetches(items), run.fetch_window):
        yield from some


def _fetches(items: Sequence[Item]) -> Iterator[list[Item]]:
    """Yield what one task fetches: an item, or small members of shards."""
    some: list[Item] = []
    held = 0
    for item in items:
        size = _member_size(item) or FETCHED_TOGETHER
        if some and (held + size > FETCHED_TOGETHER or len(some) == GROUP):
            yield some
            some, held = [], 0
        some.append(item)
        held += size
    if some:
        yield some


def _member_size(item: Item) -> int:
    """Return the bytes of a member of a shard; 0 if they are not known, or the item is a file of its own."""
    member = item.member
    return SHARDS[member.format].size(member) if member and member.format in SHARDS else 0


def group_size(run: ChunkRun) -> int:
    """Return the items that one pool task prepares."""
    return max(1, min(GROUP, run.window // GROUPS_AHEAD))


def _group(group: Sequence[Item | Fetched], prepare: Prepare[Made], run: ChunkRun) -> Cut[Made]:
    crops = Crops([one if isinstance(one, Item) else one[0] for one in group])
    made: list[Made | None] = []
    files: list[File | ItemError] = []
    held = 0
    for one in group:
        files.append(run.fetched(one) if isinstance(one, Item) else one[1])
        held += len(files[-1]) if isinstance(files[-1], bytes) else 0
        if held >= FETCHED_BYTES:
            made += [_made(crops, place, file, prepare, run) for place, file in enumerate(files, len(made))]
            files, held = [], 0
    made += [_made(crops, place, file, prepare, run) for place, file in enumerate(files, len(made))]
    return crops, made


def _made(
    crops: Crops, place: int, file: File | ItemError, prepare: Prepare[Made], run: ChunkRun
) -> Made | None:
    # For each crop: a group of large images may take minutes before the first one is yielded.
    run.on_alive()
    image = run.decoded(crops.items[place], file)
    if isinstance(image, ItemError):
        crops.errors[place] = image
        return None
    if image.note:
        crops.notes[place] = image.note
    started = time.perf_counter()
    made = prepare(image.pixels)
    run.timings.add("preprocess", time.perf_counter() - started)
    return made


def _groups(values: Iterator[Item] | Iterator[Fetched], size: int) -> Iterator[list[Item | Fetched]]:
    return iter(lambda: list(islice(values, size)), [])
