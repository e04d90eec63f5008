"""`python -m benchmarks`: measure, print the table with pass or fail, and write it with its plots."""

import os
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import click

from benchmarks.columns import columns
from benchmarks.compare import compare
from benchmarks.control_plane import control_plane
from benchmarks.cpu_per_crop import cpu_per_crop
from benchmarks.detectors import detectors
from benchmarks.end_to_end import end_to_end
from benchmarks.feeders import feeders
from benchmarks.fleet import fleet
from benchmarks.gpu import gpu
from benchmarks.listing import listing
from benchmarks.pages import pages
from benchmarks.plots import draw
from benchmarks.regions import regions
from benchmarks.review import review
from benchmarks.rows import RESULTS, Row, fill, write
from benchmarks.runtimes import runtimes
from benchmarks.scene import MOBILENET, VGG, make_scene
from benchmarks.shards import shards
from benchmarks.start import start
from contract.telemetry import switch_off_telemetry

Details = dict[str, dict[str, Any]]
Part = Callable[[Path], tuple[list[Row], Details]]

PAGE = Path(__file__).resolve().parents[1] / "docs" / "performance.md"

PARTS = (
    "start",
    "control",
    "columns",
    "cpu",
    "feeders",
    "mobilenet",
    "vgg",
    "pages",
    "compare",
    "regions",
    "shards",
    "listing",
    "review",
)
"""What is measured by default."""

ON_REQUEST = ("gpu", "fleet", "runtimes", "detectors")
"""What needs a machine that not everyone has, or ten minutes, or compares what is not used."""


def parts_of(*, full: bool) -> dict[str, Part]:
    """Return the measurement of each name; the full form takes longer, with more crops and items."""
    rounds = 7 if full else 3
    return {
        "start": partial(start, rounds=rounds),
        "control": partial(control_plane, items=1_000_000 if full else 200_000),
        "columns": partial(columns, items=2_000_000 if full else 500_000, rounds=3),
        "cpu": lambda folder: cpu_per_crop(make_scene(folder, MOBILENET, 1_028), 8 * rounds),
        "feeders": partial(feeders, crops=8_224 if full else 4_112, rounds=rounds),
        "mobilenet": partial(end_to_end, MOBILENET, count=8_224, longer=4, rounds=rounds),
        "vgg": partial(end_to_end, VGG, count=2_056 if full else 1_028, rounds=rounds if full else 2),
        "pages": partial(pages, copies=8 if full else 3, rounds=rounds, memory=full),
        "compare": partial(compare, copies=8 if full else 4, rounds=rounds),
        "regions": partial(regions, pages=500 if full else 50, rounds=3),
        "shards": partial(shards, crops=100_000 if full else 10_000, rounds=3),
        "listing": partial(listing, keys=3_000_000 if full else 1_000_000),
        "review": partial(review, items=10_000_000 if full else 1_000_000, rounds=40),
        "fleet": fleet,
        "runtimes": partial(runtimes, crops=1_024, rounds=rounds),
        "detectors": partial(detectors, rounds=rounds),
        "gpu": partial(gpu, crops=8_224 if full else 4_112, rounds=rounds),
    }


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(PARTS + ON_REQUEST))
@click.option("--full", is_flag=True, help="More crops, items and rounds: about 80 minutes instead of 30.")
@click.option("--docs", is_flag=True, help="Write the table into docs/performance.md too.")
def main(names: tuple[str, ...], full: bool, docs: bool) -> None:
    """Measure the parts named, or all but those on request; exit with 1 if a row misses its target twice."""
    switch_off_telemetry(os.environ)
    rows: list[Row] = []
    details: Details = {}
    for name in names or PARTS:
        found, more = _measured(name, parts_of(full=full)[name])
        rows += found
        for kind, values in more.items():
            details.setdefault(kind, {}).update(values)
    RESULTS.mkdir(exist_ok=True)
    table = write(rows, "table" if not names else "-".join(names), details)
    draw(details, RESULTS)
    if docs:
        PAGE.write_text(fill(PAGE.read_text(encoding="utf-8"), table), encoding="utf-8")
    sys.exit(0 if all(row.passed for row in rows) else 1)


def _measured(name: str, part: Part) -> tuple[list[Row], Details]:
    """Measure a part; measure it again if a row misses its target, since that may be noise."""
    for look in ("", " again, since a row missed its target"):
        click.echo(f"measuring {name}{look} ...", err=True)
        with tempfile.TemporaryDirectory(prefix="trace-ocr-bench-") as folder:
            rows, details = part(Path(folder).resolve())
        if all(row.passed for row in rows):
            break
    for row in rows:
        click.echo("  ".join(row.cells()))
    return rows, details


if __name__ == "__main__":
    main()
