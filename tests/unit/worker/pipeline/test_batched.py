"""Batches: full ones across blocks, in order; one by one where one fails; none once the worker stops."""

import threading
from collections.abc import Iterator
from concurrent.futures import Executor
from typing import Any

import numpy as np
import pytest

from contract.errors import ErrorCode, InterruptedChunkError, ItemError, UnfitWorkerError
from tests.unit.worker.conftest import FakeReader
from worker.kernels.pixels import Pixels
from worker.pipeline.batched import Block, batched
from worker.pipeline.run import ChunkRun


def sample(level: int) -> Pixels:
    return np.full((3, 2, 4), level, np.uint8)


def blocks(*levels: tuple[int, ...]) -> Iterator[Block[int]]:
    """Blocks of one item each, counted from 0, with a sample of each of its levels."""
    return (
        Block(number, [sample(level) for level in samples], [len(samples)])
        for number, samples in enumerate(levels)
    )


def block_of(*levels: tuple[int, ...]) -> Block[str]:
    """One block of several items, with a sample of each of their levels."""
    samples = np.stack([sample(level) for item in levels for level in item])
    return Block("all", samples, [len(item) for item in levels])


@pytest.fixture
def run(pool: Executor) -> ChunkRun:
    return run_of(pool)


def run_of(pool: Executor, **changes: Any) -> ChunkRun:
    nothing: Any = None
    given = {"fetch": nothing, "decode": nothing, "attempt": 1, "window": 1, "stop": threading.Event()}
    return ChunkRun(pool=pool, **{**given, **changes})


def read(values: Iterator[Block[Any]], reader: FakeReader, run: ChunkRun, size: int) -> Any:
    return batched(
        values, reader, run, size=size, stage="forward", code=ErrorCode.RECOGNITION_FAILED, last=True
    )


@pytest.mark.parametrize(
    ("samples", "size", "sizes"),
    [(0, 4, []), (1, 4, [1]), (4, 4, [4]), (5, 4, [4, 1]), (9, 4, [4, 4, 1]), (3, 1, [1, 1, 1])],
)
def test_all_batches_are_full_but_the_last(
    samples: int, size: int, sizes: list[int], reader: FakeReader, run: ChunkRun
) -> None:
    list(read(blocks(*((level,) for level in range(samples))), reader, run, size))

    assert reader.batch_sizes == sizes
    assert (run.timings.batches, run.timings.pieces) == (len(sizes), samples)


def test_blocks_come_in_order_with_what_was_made_of_their_samples(reader: FakeReader, run: ChunkRun) -> None:
    # given blocks of one, none, three and one samples
    outcomes = list(read(blocks((10,), (), (20, 30, 40), (50,)), reader, run, 2))

    assert [(owner, [value for value, _ in made]) for owner, made in outcomes] == [
        (0, ["10"]),
        (1, []),
        (2, ["20", "30", "40"]),
        (3, ["50"]),
    ]


def test_samples_are_joined_whether_they_are_one_array_or_many(reader: FakeReader, run: ChunkRun) -> None:
    mixed = iter([*blocks((10,), (20, 30)), block_of((40, 50), (60,)), *blocks((70,))])

    outcomes = list(read(mixed, reader, run, 4))

    assert reader.batch_sizes == [4, 3]
    assert [value for _, made in outcomes for value, _ in made] == ["10", "20", "30", "40", "50", "60", "70"]


def test_an_array_that_fills_batches_is_not_copied(
    reader: FakeReader, run: ChunkRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    batches: list[Pixels] = []
    monkeypatch.setattr(reader, "read", lambda batch: batches.append(batch) or [0] * len(batch))
    block = block_of(*((level,) for level in range(5)))

    list(read(iter([block]), reader, run, 2))

    assert [len(batch) for batch in batches] == [2, 2, 1]
    assert all(np.shares_memory(batch, block.samples) for batch in batches)


def test_a_block_comes_out_before_the_next_is_asked_for_once_its_samples_are_read(
    reader: FakeReader, run: ChunkRun
) -> None:
    # given a source that must not be read past the first batch
    def values() -> Iterator[Block[int]]:
        yield Block(0, [sample(1), sample(2)], [2])
        raise AssertionError("read ahead")

    assert next(read(values(), reader, run, 2))[0] == 0


class TestABatchFails:
    def test_a_sample_that_fails_alone_costs_no_other(self, reader: FakeReader, run: ChunkRun) -> None:
        reader.broken = {20}

        (_, first), (_, (failed, other)), (_, last) = read(blocks((10,), (20, 30), (40,)), reader, run, 4)

        assert reader.batch_sizes == [4, 1, 1, 1, 1]
        assert [value for value, _ in (*first, other, *last)] == ["10", "30", "40"]
        assert isinstance(failed, ItemError)
        assert failed.code is ErrorCode.RECOGNITION_FAILED
        assert "failed on this crop alone (RuntimeError: device-side assert)" in failed.message
        assert "try another recognition_model" in failed.message

    def test_a_batch_that_fails_is_counted_once(self, reader: FakeReader, run: ChunkRun) -> None:
        reader.broken = {10}

        list(read(blocks((10,), (20,), (30,)), reader, run, 2))

        assert (run.timings.batches, run.timings.pieces) == (2, 3)

    def test_a_device_that_is_lost_blames_nobody(
        self, reader: FakeReader, run: ChunkRun, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(_: Pixels) -> Any:
            raise UnfitWorkerError("the device has failed")

        monkeypatch.setattr(reader, "read", lost)

        with pytest.raises(UnfitWorkerError):
            list(read(blocks((10,)), reader, run, 1))


class TestTheWorkerStops:
    def test_no_further_batch_is_read(self, reader: FakeReader, pool: Executor) -> None:
        stop = threading.Event()
        run = run_of(pool, stop=stop, on_progress=lambda _: stop.set())

        with pytest.raises(InterruptedChunkError):
            list(read(blocks(*((level,) for level in range(9))), reader, run, 4))

        assert reader.batch_sizes == [4]

    def test_nor_the_rest_of_a_batch_that_failed(
        self, reader: FakeReader, pool: Executor, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a stop that comes while the samples are read one by one
        stop, sizes = threading.Event(), []

        def fail(batch: Pixels) -> Any:
            sizes.append(len(batch))
            if len(batch) == 1:
                stop.set()
            raise RuntimeError("device-side assert")

        monkeypatch.setattr(reader, "read", fail)

        with pytest.raises(InterruptedChunkError):
            list(read(blocks((1,), (2,), (3,)), reader, run_of(pool, stop=stop), 3))

        assert sizes == [3, 1]


@pytest.mark.parametrize("in_one", [False, True])
def test_progress_counts_items_all_of_whose_samples_are_read(
    in_one: bool, reader: FakeReader, pool: Executor
) -> None:
    # given six samples of five items, one of which has none
    items = (1,), (2,), (), (3, 4, 5), (6,)
    progress: list[int] = []
    run = run_of(pool, on_progress=progress.append)

    list(read(iter([block_of(*items)]) if in_one else blocks(*items), reader, run, 2))

    # An item without samples counts once the batch before it is read, if it is known by then.
    assert progress == [3 if in_one else 2, 3, 5]


def test_a_model_that_does_not_read_last_is_timed_and_not_counted(reader: FakeReader, pool: Executor) -> None:
    progress: list[int] = []
    run = run_of(pool, on_progress=progress.append)

    list(batched(blocks((1,)), reader, run, size=1, stage="detect", code=ErrorCode.DETECTION_FAILED))

    assert set(run.timings.seconds) == {"detect"}
    assert (run.timings.batches, progress) == (0, [])
