"""Sets of chunk numbers behave as sets of numbers do."""

import fakeredis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from contract.chunk_set import ChunkSet

NUMBERS = st.sets(st.integers(0, 70))


@given(NUMBERS, NUMBERS)
def test_it_behaves_as_a_set(one: set[int], other: set[int]) -> None:
    ours, theirs = ChunkSet.of(one), ChunkSet.of(other)

    assert list(ours) == sorted(one)
    assert (len(ours), bool(ours)) == (len(one), bool(one))
    assert all((number in ours) == (number in one) for number in range(-1, 80))
    assert ours == one
    for right in (theirs, other):
        assert ours & right == one & other
        assert ours - right == one - other
        assert ours | right == one | other
        assert (ours >= right) == (one >= other)
        assert ours.isdisjoint(right) == one.isdisjoint(other)


@pytest.mark.parametrize("count", [0, 1, 7, 8, 9, 1_000_003])
def test_the_first_numbers(count: int) -> None:
    first = ChunkSet.below(count)

    assert first == set(range(count))
    assert first.first_missing() == count
    assert (first - {5}).first_missing() == min(5, count)


def test_its_bits_are_those_of_redis(fake_redis: fakeredis.FakeRedis) -> None:
    for number in (0, 9, 1_000_000):
        fake_redis.setbit("bits", number, 1)

    bits = fake_redis.execute_command("GET", "bits", NEVER_DECODE=True)

    assert ChunkSet(bits) == {0, 9, 1_000_000}
