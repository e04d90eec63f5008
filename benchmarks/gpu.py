"""Crops and pages per second on a GPU: `python -m benchmarks gpu`; `feeders` says what its cores can feed."""

import statistics
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.end_to_end import doctr_loop as crop_loop
from benchmarks.end_to_end import product, rate, strings_of
from benchmarks.forward import forward_alone
from benchmarks.page_contestants import doctr_loop
from benchmarks.pages import PAGES, copied, words_of
from benchmarks.pages import product as page_product
from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import MOBILENET, SAMPLES, VGG, Scene, make_scene
from benchmarks.service import serving
from worker.models.runtimes.base import RuntimeOptions
from worker.monitoring.device import Device

LOOK_SECONDS = 0.05
"""Seconds between two readings of the card's utilisation; the driver averages over 0.17 to 1 s."""

COPIES = 8
"""Of the sample documents, which are read in one job."""

LARGE = 4_096
"""Crops of a large chunk; the default is 1,024."""

LONGER = 16
"""Our job's crops for each crop that docTR reads, which takes twelve times as long for one."""

SETUPS: dict[str, dict[str, Any]] = {
    "trace-ocr": {},
    "trace-ocr without CUDA graphs": {"cuda_graphs": False},
    "trace-ocr float16": {"precision": "float16"},
}
"""The worker's settings; the precision is tf32 by default, as docTR's on a GPU."""

FORWARDS = {
    f"forward alone {precision}{', CUDA graphs' if graphs else ''}": RuntimeOptions(
        "torch", precision, cuda_graphs=graphs
    )
    for precision in ("float32", "tf32", "float16")
    for graphs in (False, True)
}

Measured = tuple[list[Row], dict[str, dict[str, list[float]]]]
"""Rows, and the rates of all contestants by name."""


def gpu(
    folder: Path, *, crops: int, rounds: int, device: str = "0"
) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows of the card, and every measured rate.

    Args:
        crops: that docTR reads, a multiple of the number of samples; our jobs have LONGER times as many
        rounds: how often each contestant runs
        device: the worker's setting `devices`; docTR and the forward alone use torch's first card, or the CPU
    """
    rates: dict[str, dict[str, list[float]]] = {}
    rows: list[Row] = []
    for architecture in (MOBILENET, VGG):
        found, measured = crops_of(architecture, folder / architecture, crops, device, rounds)
        rows, rates = rows + found, rates | measured
    found, measured = pages(folder, device, rounds)
    return rows + found, {"rates": rates | measured}


def crops_of(architecture: str, folder: Path, crops: int, device: str, rounds: int) -> Measured:
    """Return the rows of one model, and the rates of all contestants."""
    scene, short = (_scene(folder / name, architecture, count) for name, count in _sizes(crops))
    doctr = crop_loop(short, _torch_name(device))
    busy: dict[str, list[float]] = {name: [] for name in SETUPS}
    with ExitStack() as stack:
        contestants: dict[str, Callable[[], float]] = {"docTR": _rounding(rate(crops, doctr))}
        for name, settings in SETUPS.items():
            out = folder / name
            out.mkdir()
            run = stack.enter_context(product(scene, out, device, **settings))
            contestants[name] = _watched(run, Device(device), busy[name])
            contestants[f"{name}, chunks of {LARGE:,}"] = partial(run, chunk_size=LARGE)
        for name, options in FORWARDS.items():
            forward = forward_alone(short, _torch_name(device), options)
            contestants[name] = _rounding(rate(crops, forward), to_tf32=options.precision != "float32")
        rates = interleaved(contestants, rounds)
    theirs = [value for value, _ in doctr()] * LONGER
    return [
        *(Row(f"{architecture}: {name}", statistics.median(all_), "crops/s") for name, all_ in rates.items()),
        *(row for name in SETUPS for row in _rows(architecture, name, rates, busy[name])),
        *(
            Row(f"{architecture}: {name}, strings identical to docTR's", _same(folder / name, theirs), "%")
            for name in SETUPS
        ),
    ], {f"{architecture}-gpu": rates}


def _sizes(crops: int) -> tuple[tuple[str, int], ...]:
    return ("long", LONGER * crops), ("short", crops)


def _scene(folder: Path, architecture: str, crops: int) -> Scene:
    folder.mkdir(parents=True)
    return make_scene(folder, architecture, crops)


def _rows(architecture: str, name: str, rates: dict[str, list[float]], busy: list[float]) -> Iterator[Row]:
    yield Row(f"{architecture}: {name} over docTR", median_ratio(rates[name], rates["docTR"]), "x")
    if busy:
        yield Row(f"{architecture}: card busy, {name}", 100 * statistics.mean(busy), "%")


def _same(folder: Path, theirs: list[str]) -> float:
    """Return the percentage of strings that a job has read as docTR."""
    (out, *_) = sorted(folder.glob("out-*"))
    return 100 * sum(map(str.__eq__, strings_of(out), theirs)) / len(theirs)


def _rounding(run: Callable[[], float], *, to_tf32: bool = True) -> Callable[[], float]:
    """Return the function with torch's switch set first: it holds for the whole process."""

    def switched() -> float:
        torch.backends.cudnn.allow_tf32 = to_tf32
        return run()

    return switched


def pages(folder: Path, device: str, rounds: int) -> Measured:
    """Return the row of pages, and the rates of all contestants."""
    documents = copied(folder, COPIES)
    doctr = doctr_loop(sorted(documents.iterdir()), _torch_name(device))
    with serving(SAMPLES / "weights", folder, SAMPLES, device=device) as service:
        run = page_product(service, documents, folder, PAGES * COPIES)
        rates = interleaved({"trace-ocr": run, "docTR": _rounding(rate(PAGES * COPIES, doctr))}, rounds)
    rows = [Row(f"pages: {name}", statistics.median(values), "pages/s") for name, values in rates.items()]
    same = sum(map(list.__eq__, words_of(folder / "pages-1"), doctr()))
    rows.append(Row("pages: identical to docTR's, word by word", 100 * same / (PAGES * COPIES), "%"))
    return rows, {"pages-gpu": rates}


def _torch_name(device: str) -> str:
    return "cpu" if device == "cpu" else "cuda:0"


def _watched(run: Callable[[], float], card: Device, busy: list[float]) -> Callable[[], float]:
    """Return the function, which also adds the card's utilisation while it runs."""

    def watched() -> float:
        with _looking(card, busy):
            return run()

    return watched


@contextmanager
def _looking(card: Device, busy: list[float]) -> Iterator[None]:
    over = threading.Event()

    def look() -> None:
        while not over.wait(LOOK_SECONDS):
            use = card.use()
            if use and use.utilisation is not None:
                busy.append(use.utilisation)

    looking = threading.Thread(target=look)
    looking.start()
    try:
        yield
    finally:
        over.set()
        looking.join()
