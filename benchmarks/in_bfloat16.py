"""The product in bfloat16 beside others, on CPUs that have instructions for it."""

from collections.abc import Callable
from contextlib import AbstractContextManager

from benchmarks.rows import Row, interleaved, median_ratio
from worker.models.runtimes.bfloat16 import has_bfloat16

NAME = "trace-ocr, bfloat16"
"""The contestant; it has no targets."""


def measure_in_bfloat16(
    title: str,
    rates: dict[str, list[float]],
    start: Callable[[], AbstractContextManager[Callable[[], float]]],
    others: dict[str, Callable[[], float]],
    rounds: int,
    same: Callable[[], float],
) -> list[Row]:
    """Return the rows, and add the product's rates; none on a CPU without bfloat16.

    The rounds are its own: a second worker would poll while the others run.

    Args:
        title: what the rows are about
        rates: of the contestants in other precisions
        start: starts the product in bfloat16, and yields what runs a job and returns its rate
        others: the contestants to run beside it
        same: returns the share of its strings that are docTR's, in %, once jobs have run
    """
    if not has_bfloat16():
        return []
    with start() as run:
        measured = interleaved({NAME: run, **others}, rounds)
    ours = rates[NAME] = measured[NAME]
    return [
        *(
            Row(f"{title}: bfloat16, end to end over {name}", median_ratio(ours, measured[name]), "x")
            for name in others
        ),
        Row(f"{title}: bfloat16, strings identical to docTR's", same(), "%"),
    ]
