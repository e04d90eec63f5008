"""Feeders with a decoder that has bugs: files that hold a marker crash, flood or hang it."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from worker.feeders.pool import FeederPool
from worker.feeders.protocol import DEPTH, Limits

INJECTED = Path(__file__).parents[3] / "chaos" / "injected"

MAX_PIXELS = 10_000_000

MakePool = Callable[..., FeederPool]


@pytest.fixture(scope="session")
def make_pool() -> Iterator[MakePool]:
    """Return pools of feeders; all are ended with the session."""
    made: list[FeederPool] = []

    def make(number: int = 1, seconds: float = 60.0, memory: int = 1 << 30) -> FeederPool:
        limits = Limits(
            MAX_PIXELS, memory, max_bytes=1 << 20, max_document_bytes=1 << 20, fetch_threads=4, slots=DEPTH
        )
        made.append(FeederPool(number, limits, seconds))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", f"{INJECTED}:{Path.cwd()}")
        patch.setenv("FAULTS", "poison")
        yield make
    for pool in made:
        pool.close()


@pytest.fixture(scope="session")
def feeders(make_pool: MakePool) -> FeederPool:
    """One feeder that may take two seconds of processor time for an item."""
    return make_pool(seconds=2.0)
