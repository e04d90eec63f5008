"""Crops per second: this product through Redis and Celery against the alternatives."""

import contextlib
import json
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from doctr.io import DocumentFile
from doctr.models import recognition_predictor

from benchmarks.forward import best_forward
from benchmarks.in_bfloat16 import measure_in_bfloat16
from benchmarks.ray_data import ray_crops
from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import BATCH, MOBILENET, VGG, Scene, exported_by_doctr, has_avx512, make_scene
from benchmarks.service import make_job, serving
from contract.job import Job
from contract.kinds.recognition import RecognitionParameters

OVER_DOCTR = {MOBILENET: (4.0, 2.2), VGG: (1.9, 1.7)}
"""Targets over docTR's loop, without AVX-512 and with it."""

TARGETS = {
    "forward alone": {MOBILENET: 0.92, VGG: 0.97},
    "OnnxTR": {MOBILENET: 1.9},
    "Ray Data": {MOBILENET: 3.0},
}
"""Targets over the other contestants."""

SMALL_JOBS = 9
"""Jobs of one crop: what every job takes besides its crops, some tens of milliseconds."""


@contextlib.contextmanager
def product(
    scene: Scene, folder: Path, device: str = "cpu", **settings: Any
) -> Iterator[Callable[..., float]]:
    """Yield a function that runs a job to its `_SUCCESS` on a warm worker; it returns crops per second.

    Its workspaces are `out-<architecture>-<run>` in the folder. It may be given fewer crops of the scene, and
    other fields of the job.

    Args:
        device, settings: of the worker
    """
    with serving(scene.store, folder, scene.crops, device=device, **settings) as service:
        runs = iter(range(1_000_000))

        def run(read: Scene = scene, **changes: Any) -> float:
            out = folder / f"out-{scene.architecture}-{next(runs)}"
            return len(read.files) / service.run(_job(read, out).model_copy(update=changes), out)

        run()  # the worker starts and loads its model
        yield run


def _job(scene: Scene, out: Path) -> Job:
    parameters = RecognitionParameters(recognition_model=scene.architecture, recognition_batch_size=BATCH)
    return make_job("recognition", parameters, scene.crops, out)


def strings_of(out: Path) -> list[str]:
    """Return a finished job's strings, in order."""
    lines = (out / "results.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line)["value"] for line in lines]


def rate(count: int, read: Callable[[], Any]) -> Callable[[], float]:
    """Return a function that reads `count` items once and returns items per second."""

    def run() -> float:
        started = time.perf_counter()
        read()
        return count / (time.perf_counter() - started)

    return run


def doctr_loop(scene: Scene, device: str = "cpu") -> Callable[[], list[tuple[str, float]]]:
    """docTR's own way: read the files, call the predictor; `device` is torch's name."""
    predictor = recognition_predictor(scene.model(), batch_size=BATCH).to(device)

    def read() -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []
        for start in range(0, len(scene.files), 8 * BATCH):
            found += predictor(DocumentFile.from_images(scene.files[start : start + 8 * BATCH]))
        return found

    return read


def onnxtr_loop(scene: Scene, folder: Path) -> Callable[[], object]:
    """OnnxTR's predictor over docTR's weights, exported with docTR's exporter."""
    from onnxtr.models import recognition_predictor as onnxtr_predictor
    from onnxtr.models.recognition import crnn_mobilenet_v3_small

    model = scene.model()
    path = exported_by_doctr(model, folder / "onnxtr")
    predictor = onnxtr_predictor(crnn_mobilenet_v3_small(path, vocab=model.vocab), batch_size=BATCH)
    return lambda: predictor(DocumentFile.from_images(scene.files))


def end_to_end(
    architecture: str, folder: Path, *, count: int, longer: int = 1, rounds: int
) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows of one model, every measured rate, and the stages of the product's own runs.

    Args:
        count: crops, for contestants without a start and an end of their own
        longer: how many times as many a job reads, ours and Ray's
    """
    scene = make_scene(folder, architecture, longer * count)
    short = replace(scene, files=scene.files[:count])
    doctr = doctr_loop(short)
    loops = {"docTR": rate(count, doctr)}
    if architecture == MOBILENET:
        loops["OnnxTR"] = rate(count, onnxtr_loop(short, folder))
    with product(scene, folder) as run:
        rates = interleaved_with_others(scene, short, folder, {"trace-ocr": run, **loops}, rounds)
        alone = replace(scene, crops=scene.files[0], files=scene.files[:1])
        seconds = statistics.median(1 / run(alone) for _ in range(SMALL_JOBS))
    out, doctrs = folder / f"out-{architecture}-1", longer * [text for text, _ in doctr()]
    own = folder / "bfloat16"
    own.mkdir()
    rows = [
        *_ratios(architecture, rates),
        Row(f"{architecture}: strings identical to docTR's", _same(out, doctrs), "%", 100),
        Row(f"{architecture}: a job of one crop", 1_000 * seconds, "ms"),
        *measure_in_bfloat16(
            architecture,
            rates,
            lambda: product(scene, own, precision="bfloat16"),
            loops,
            rounds,
            lambda: _same(own / out.name, doctrs),
        ),
    ]
    return rows, {"rates": {architecture: rates}, "stages": {architecture: stages_of(out)}}


def interleaved_with_others(
    scene: Scene, short: Scene, folder: Path, contestants: dict[str, Callable[[], float]], rounds: int
) -> dict[str, list[float]]:
    """Return the rates of some contestants, of the forward alone, and of Ray Data with the small model.

    Args:
        short: the scene with the crops of contestants that are no jobs
    """
    with best_forward(short) as forward:
        contestants = {**contestants, "forward alone": forward}
        if scene.architecture == MOBILENET:
            contestants["Ray Data"] = ray_crops(scene, folder)
        return interleaved(contestants, rounds)


def _same(out: Path, doctrs: list[str]) -> float:
    """Return the share of a finished job's strings that are docTR's, in %."""
    pairs = zip(strings_of(out), doctrs, strict=True)
    return 100 * sum(mine == other for mine, other in pairs) / len(doctrs)


def stages_of(out: Path) -> dict[str, float]:
    """Return the microseconds per crop of each stage of a finished job, summed over threads."""
    summary = json.loads((out / "summary.json").read_text(encoding="utf-8"))
    items = summary["request_counts"]["total"]
    return {stage: round(1e6 * seconds / items, 1) for stage, seconds in summary["stage_seconds"].items()}


def _ratios(architecture: str, rates: dict[str, list[float]]) -> list[Row]:
    """Return the product's rows, and those of the others that say what the forward leaves to reach."""
    targets = {"docTR": OVER_DOCTR[architecture][has_avx512()]}
    targets |= {name: of[architecture] for name, of in TARGETS.items() if architecture in of}
    forward = rates["forward alone"]
    ours = [
        Row(
            f"{architecture}: end to end over {name}",
            median_ratio(rates["trace-ocr"], rates[name]),
            "x",
            target,
        )
        for name, target in targets.items()
    ]
    others = [
        Row(f"{architecture}: forward alone over {name}", median_ratio(forward, rates[name]), "x")
        for name in ("docTR", "OnnxTR")
        if name in rates
    ]
    return ours + others
