"""Samples: so many items, in the source's order, the same for the same seed."""

from collections import Counter

import pytest

from contract.records import Item
from contract.source import Sample
from producer.sources.sampling import sampled

ITEMS = [Item(id=str(number), uri=f"/crops/{number}") for number in range(100)]


def sample_of(items: int, seed: int = 0) -> tuple[list[int], Counter[str]]:
    passed_over: Counter[str] = Counter()
    chosen = sampled(iter(ITEMS), Sample(items=items, seed=seed), passed_over)
    return [int(item.id) for item in chosen], passed_over


def test_a_sample_has_so_many_items_in_the_sources_order_and_counts_the_others() -> None:
    chosen, passed_over = sample_of(10)

    assert len(chosen) == len(set(chosen)) == 10
    assert chosen == sorted(chosen)
    assert passed_over == {"not_sampled": 90}


def test_the_same_seed_chooses_the_same_items_and_another_one_others() -> None:
    assert sample_of(10, seed=3) == sample_of(10, seed=3)
    assert sample_of(10, seed=3) != sample_of(10, seed=4)


def test_every_item_may_be_chosen() -> None:
    assert {item for seed in range(200) for item in sample_of(10, seed)[0]} == set(range(100))


@pytest.mark.parametrize("items", [100, 1_000])
def test_a_source_with_no_more_items_is_read_whole(items: int) -> None:
    assert sample_of(items) == (list(range(100)), Counter())
