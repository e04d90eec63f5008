"""`python -m benchmarks.parts`: how many crops a core best reads at once, for each size of model.

Run on idle cores. Weights but those of the small model are random, which changes no speed.
"""

import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from benchmarks.forward import AUTO, forward_rate, ready_batches, recogniser_of
from benchmarks.rows import interleaved
from benchmarks.scene import MOBILENET, VGG, make_scene
from worker.models.runtimes.lanes import Lanes

CROPS = {MOBILENET: 1_024, VGG: 128, "parseq": 64, "vitstr_small": 64}
"""Crops to read with each model, some seconds of work."""

SIZES = (4, 8, 16, 32)

ROUNDS = 3


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(CROPS)))
def main(names: tuple[str, ...]) -> None:
    """Print crops per second by the size of parts; medians of interleaved rounds."""
    for architecture in names or CROPS:
        with tempfile.TemporaryDirectory(prefix="trace-ocr-bench-") as folder:
            scene = make_scene(Path(folder), architecture, CROPS[architecture])
            recogniser = recogniser_of(scene, "cpu", AUTO)
            runtime: Any = recogniser._runtime
            lanes: Lanes = runtime._lanes
            used, run = lanes._part, forward_rate(recogniser, ready_batches(scene, recogniser))
            rates = interleaved({str(size): _with(lanes, size, run) for size in SIZES}, ROUNDS)
        found = ", ".join(f"{size}: {statistics.median(values):,.1f}" for size, values in rates.items())
        click.echo(f"{architecture}, which uses {used}: crops/s by crops at once: {found}")


def _with(lanes: Lanes, size: int, run: Callable[[], float]) -> Callable[[], float]:
    def measure() -> float:
        lanes._part = size
        return run()

    return measure


if __name__ == "__main__":
    main()
