"""The device time of a comparison against that of its models' jobs one by one."""

import json
import shutil
from pathlib import Path
from typing import Any

from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import MOBILENET, SAMPLES
from benchmarks.service import make_job, serving
from contract.kinds.base import Parameters
from contract.kinds.compare import CompareParameters
from contract.kinds.recognition import RecognitionParameters

MODELS = (MOBILENET, "mobilenet-2025")

TARGET = 1.05
"""Target: at most this share of the single jobs' device seconds."""


def compare(folder: Path, *, copies: int, rounds: int) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the row of comparisons, and every measured device time.

    Args:
        copies: of the 257 sample crops, which are read in one job
    """
    crops = folder / "crops"
    crops.mkdir()
    for copy in range(copies):
        for source in (SAMPLES / "crops").iterdir():
            shutil.copy(source, crops / f"{copy:03d}-{source.name}")
    with serving(SAMPLES / "weights", folder, SAMPLES) as service:
        runs = iter(range(1_000_000))

        def device_seconds(kind: str, parameters: Parameters) -> float:
            out = folder / f"out-{next(runs)}"
            service.run(make_job(kind, parameters, crops, out), out)
            stages = json.loads((out / "summary.json").read_text())["stage_seconds"]
            return sum(seconds for stage, seconds in stages.items() if stage.startswith("forward"))

        def together() -> float:
            return device_seconds("compare", CompareParameters(models=MODELS))

        def alone() -> float:
            single = (RecognitionParameters(recognition_model=model) for model in MODELS)
            return sum(device_seconds("recognition", parameters) for parameters in single)

        together()  # the worker starts and loads its models
        seconds = interleaved({"together": together, "alone": alone}, rounds)
    ratio = median_ratio(seconds["together"], seconds["alone"])
    row = Row("compare: device time of two models over their two jobs'", ratio, "x", TARGET, at_most=True)
    return [row], {"device seconds": {"compare": seconds}}
