"""Pages of a chunk are fetched and decoded once, and held only while their regions are cut out."""

import dataclasses
import threading
import weakref
from collections.abc import Callable
from concurrent.futures import Executor, Future
from typing import Any

import numpy as np
import pytest

from contract.records import Item
from contract.region import region_of
from worker.images.decode import DecodedImage
from worker.kernels.pixels import Pixels
from worker.kinds.regions import prepared_regions
from worker.pipeline.run import ChunkRun

PAGES, REGIONS = 12, 40

ITEMS = [
    Item(f"{page}#r={number}", f"/{page}.png", region=region_of([number, 0, number + 8, 8]))
    for page in range(PAGES)
    for number in range(REGIONS)
]


class Scans:
    """Pages as red as their number; notes which were fetched and decoded, and the decoded ones in memory."""

    def __init__(self) -> None:
        self.fetched: list[str] = []
        self.decoded: list[str] = []
        self.held: weakref.WeakValueDictionary[int, Any] = weakref.WeakValueDictionary()
        self.most_held = 0

    def fetch(self, item: Item) -> bytes:
        self.fetched.append(item.uri)
        return item.uri[1:-4].encode()

    def decode(self, item: Item, file: Any) -> DecodedImage:
        self.decoded.append(item.uri)
        pixels = np.full((8, 64, 3), int(file), np.uint8)
        self.held[int(file)] = pixels
        return DecodedImage(pixels)

    def level(self, crop: Pixels) -> int:
        self.most_held = max(self.most_held, len(self.held))
        return int(crop[0, 0, 0])


@pytest.fixture
def scans() -> Scans:
    return Scans()


@pytest.fixture
def make_run(pool: Executor, scans: Scans) -> Callable[..., ChunkRun]:
    def make(**changes: Any) -> ChunkRun:
        return ChunkRun(
            scans.fetch, scans.decode, 1, pool, window=64, stop=threading.Event(), page_window=2, **changes
        )

    return make


@pytest.mark.parametrize("remote", [False, True])
def test_a_page_is_fetched_and_decoded_once(
    remote: bool, scans: Scans, make_run: Callable[..., ChunkRun], pool: Executor
) -> None:
    run = make_run(fetchers=pool, fetch_window=64) if remote else make_run()

    groups = list(prepared_regions(ITEMS, scans.level, run, padding=0.0))

    assert [item for crops, _ in groups for item in crops.items] == ITEMS
    assert [level for _, made in groups for level in made] == [
        page for page in range(PAGES) for _ in range(REGIONS)
    ]
    assert sorted(scans.fetched) == sorted(scans.decoded) == sorted({item.uri for item in ITEMS})
    assert run.timings.counts == {"pages": PAGES}


class Inline(Executor):
    """Does what it is given at once, so that only what is waited for is held."""

    def submit(self, function: Any, /, *arguments: Any, **named: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*arguments, **named))
        return future


def test_a_page_is_held_only_until_its_regions_are_cut(
    scans: Scans, make_run: Callable[..., ChunkRun]
) -> None:
    """Given a page for each region, many of which are cut ahead of the model."""
    run = dataclasses.replace(make_run(), pool=Inline())
    items = [Item(f"{page}#r=1", f"/{page}.png", region=region_of([0, 0, 8, 8])) for page in range(40)]

    made = list(prepared_regions(items, scans.level, run, padding=0.0))

    assert len(made) == 40
    # Two that are decoded ahead, and the one that is cut.
    assert scans.most_held <= 3
    assert not scans.held
