"""The stage of recognition jobs: each item is one crop."""

import time
from collections.abc import Iterator, Sequence
from itertools import chain, islice

from contract.errors import ItemError
from contract.lines import RecognitionLine
from contract.records import Item
from worker.images.decode import File
from worker.pipeline.ahead import ahead
from worker.pipeline.batching import Prediction, PreparedCrop
from worker.pipeline.run import ChunkRun, Prepared

GROUP = 32
"""Items that one pool task prepares: handing over a task costs some 30 us, a third of preparing a crop."""

GROUPS_AHEAD = 8
"""Tasks that the window must leave room for before items are grouped: a thread is not to wait for another."""

FETCHED_BYTES = 4 << 20
"""Bytes of files that a task fetches before it decodes them: a thousand crops', or one large image. Between
two crops each system call costs the decoder its caches: fetched together they take a third less in all."""

Fetched = tuple[Item, File | ItemError, float]
"""An item, its file or why there is none, and the seconds that took."""


class CropStage:
    """Items to pieces, by groups; strings to the contract's recognition lines."""

    def prepared(self, items: Sequence[Item], run: ChunkRun) -> Iterator[Prepared]:
        """Yield what each item comes to, in order, from the pool's threads."""
        # In careful mode an item may take a minute, and each is a sign of life of its own.
        size = max(1, min(GROUP, run.window // GROUPS_AHEAD)) if run.attempt == 1 else 1
        groups: Iterator[list[Item | Fetched]]
        if run.fetchers:
            fetched = ahead(run.fetchers, lambda item: fetch_timed(item, run), items, run.fetch_window)
            groups = _groups(fetched, size)
        else:
            groups = _groups(iter(items), size)
        ready = ahead(run.pool, lambda group: _prepare_group(group, run), groups, run.window // size)
        return chain.from_iterable(ready)

    def line(
        self, item: Item, ready: Prepared, predictions: list[Prediction], run: ChunkRun
    ) -> RecognitionLine:
        """Return the line of a crop of which all pieces were read."""
        assert isinstance(ready.outcome, PreparedCrop)
        value, confidence = run.reader.join(ready.outcome, predictions)
        return RecognitionLine(item.id, name_of(item), value, confidence, item.label, ready.note)


def name_of(item: Item) -> str:
    """Return what the contract calls an item's name: its file's, without folders."""
    return item.uri.rpartition("/")[2]


def fetch_timed(item: Item, run: ChunkRun) -> Fetched:
    """Fetch an item's file; an item error is its outcome, not raised."""
    started = time.perf_counter()
    try:
        data: File | ItemError = run.fetch(item)
    except ItemError as error:
        data = error
    return item, data, time.perf_counter() - started


def _groups(values: Iterator[Item] | Iterator[Fetched], size: int) -> Iterator[list[Item | Fetched]]:
    return iter(lambda: list(islice(values, size)), [])


def _prepare_group(group: Sequence[Item | Fetched], run: ChunkRun) -> list[Prepared]:
    prepared: list[Prepared] = []
    fetched: list[Fetched] = []
    held = 0
    for one in group:
        fetched.append(fetch_timed(one, run) if isinstance(one, Item) else one)
        data = fetched[-1][1]
        held += len(data) if isinstance(data, bytes) else 0
        if held >= FETCHED_BYTES:
            prepared += [_prepare(file, run) for file in fetched]
            fetched, held = [], 0
    return prepared + [_prepare(file, run) for file in fetched]


def _prepare(file: Fetched, run: ChunkRun) -> Prepared:
    # Here too: a group of large images may take minutes before any of it is handed on.
    run.on_alive()
    item, data, fetching = file
    if isinstance(data, ItemError):
        return Prepared(data, None, {"fetch": fetching})
    started = time.perf_counter()
    try:
        image = run.decode(item, data)
    except ItemError as error:
        return Prepared(error, None, {"fetch": fetching, "decode": time.perf_counter() - started})
    decoded = time.perf_counter()
    crop = run.reader.prepare(image.pixels)
    preparing = time.perf_counter() - decoded
    seconds = {"fetch": fetching, "decode": decoded - started, "preprocess": preparing}
    return Prepared(crop, image.note, seconds)
