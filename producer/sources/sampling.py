"""Samples of a source: some of its items, chosen at random, in the source's order."""

import random
from collections import Counter
from collections.abc import Iterator

from contract.records import Item
from contract.source import Sample

NOT_SAMPLED = "not_sampled"
"""The reason under which the other items are counted."""


def sampled(items: Iterator[Item], sample: Sample, passed_over: Counter[str]) -> Iterator[Item]:
    """Yield the sampled items in their order; all items are listed before the first one is yielded.

    Each subset is equally likely (Vitter's algorithm R); it depends on the seed and the number of items.
    """
    choice = random.Random(sample.seed)  # noqa: S311 - a reproducible choice, not a secret
    kept: list[tuple[int, Item]] = []
    for place, item in enumerate(items):
        if place < sample.items:
            kept.append((place, item))
            continue
        passed_over[NOT_SAMPLED] += 1
        slot = choice.randrange(place + 1)
        if slot < sample.items:
            kept[slot] = place, item
    yield from (item for _, item in sorted(kept, key=lambda one: one[0]))
