"""The map of a job's chunks: exact for a screen of them, and a few kilobytes for ten million."""

import json

import pytest

from contract.chunk_map import ChunkRun
from contract.chunk_set import ChunkSet
from contract.job_status import Running
from producer.results.chunk_map import MAX_CELLS, chunk_map

RUNNING = (Running(2, 5, 1.0, "cpu@a"), Running(3, 0, 1.0, "cpu@a"), Running(4, 1, 1.0, "cpu@b"))


def test_each_chunk_of_a_small_job_is_a_cell() -> None:
    found = chunk_map(9, ChunkSet.of([0, 1, 7]), RUNNING, [5])

    assert (found.total, found.cell, found.done) == (9, 1, 3)
    assert found.runs == (
        ChunkRun("done", 2),
        ChunkRun("running", 2, "cpu@a"),
        ChunkRun("running", 1, "cpu@b"),
        ChunkRun("failed", 1),
        ChunkRun("waiting", 1),
        ChunkRun("done", 1),
        ChunkRun("waiting", 1),
    )


def test_a_chunk_that_ended_since_is_done() -> None:
    assert chunk_map(3, ChunkSet.below(3), RUNNING, []).runs == (ChunkRun("done", 3),)


def test_a_job_without_chunks_has_an_empty_map() -> None:
    assert chunk_map(0, ChunkSet(), (), ()).runs == ()


def test_a_cell_of_several_shows_what_matters_most() -> None:
    total = 10 * MAX_CELLS
    found = chunk_map(
        total, ChunkSet.below(40), (Running(20, 1, 1.0, "cpu@a"), Running(50, 1, 1.0, "cpu@a")), [80]
    )

    assert found.cell == 16
    # Chunk 20 has ended since.
    assert found.runs[:6] == (
        ChunkRun("done", 2),
        ChunkRun("part", 1),
        ChunkRun("running", 1, "cpu@a"),
        ChunkRun("waiting", 1),
        ChunkRun("failed", 1),
        ChunkRun("waiting", -(-total // 16) - 6),
    )


def test_ten_million_chunks_are_a_few_kilobytes() -> None:
    done = ChunkSet(b"\xff\x00" * 625_000)

    found = chunk_map(10_000_000, done, (), range(0, 10_000_000, 40_000))

    assert sum(run.cells for run in found.runs) <= MAX_CELLS
    assert found.done == 5_000_000
    assert len(json.dumps(found.runs)) < 16_384


@pytest.mark.parametrize(
    ("first", "end"), [(0, 0), (0, 3), (3, 5), (3, 8), (8, 16), (3, 29), (0, 100), (90, 95)]
)
def test_numbers_in_a_range_are_counted(first: int, end: int) -> None:
    numbers = {0, 2, 7, 8, 15, 16, 21, 28, 29, 40}

    assert ChunkSet.of(numbers).count(first, end) == sum(first <= number < end for number in numbers)
