"""The load measurement in short: real processes, many clients at once, nothing timed."""

import asyncio

from benchmarks.uploads import MIB, Load, measure

MAX_GROWTH = 64 * MIB
"""Bytes; the API holds some 80 MiB, so this is about a leak, not about noise."""


def test_many_clients_at_once_get_each_their_own_text_in_shared_batches_and_the_api_does_not_grow() -> None:
    measured = asyncio.run(measure(Load(clients=16, seconds=3, warm_up=1)))

    assert measured.problems(MAX_GROWTH) == []
    assert measured.tally.statuses[200] > 16
