"""Crops turned upright before they are read, as docTR turns the words of pages that are not straight."""

import time
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import chain, islice

import msgspec
from doctr.models._utils import rectify_crops

from contract.errors import ErrorCode, ItemError
from worker.kernels.pixels import Pixels
from worker.kinds.crops import Crop, Made, Prepare
from worker.kinds.page_steps import Classify
from worker.models.orientation import BATCH_SIZES, CROP_ORIENTATION
from worker.pipeline.ahead import ahead
from worker.pipeline.run import ChunkRun

Cut = tuple[Crop, list[Pixels]]
"""A crop with its pixels; without them if it has an error."""

BATCHES_AHEAD = 2
"""Batches of crops that are classified or wait for the models: one is prepared while one is read."""


def upright_crops(
    cut: Iterator[Cut], classify: Classify, prepare: Prepare[Made], run: ChunkRun
) -> Iterator[tuple[Crop, list[Made]]]:
    """Yield each crop with its angle and its pieces, in order; classified in batches across images.

    Args:
        classify: docTR's classifier of crops
        prepare: makes the pieces that the models take from RGB, (height, width, 3) uint8
    """
    batches = iter(lambda: list(islice(cut, BATCH_SIZES[CROP_ORIENTATION])), [])
    return chain.from_iterable(
        ahead(run.pool, partial(_upright, classify, prepare, run), batches, BATCHES_AHEAD)
    )


def _upright(
    classify: Classify, prepare: Prepare[Made], run: ChunkRun, batch: Sequence[Cut]
) -> list[tuple[Crop, list[Made]]]:
    run.on_alive()
    started = time.perf_counter()
    turned = iter(_turned([pixels for _, whole in batch for pixels in whole], classify))
    run.timings.add("orient", time.perf_counter() - started)
    return [_prepared(crop, next(turned), prepare, run) if whole else (crop, []) for crop, whole in batch]


def _prepared(
    crop: Crop, turned: tuple[Pixels, int] | ItemError, prepare: Prepare[Made], run: ChunkRun
) -> tuple[Crop, list[Made]]:
    if isinstance(turned, ItemError):
        return msgspec.structs.replace(crop, error=turned), []
    started = time.perf_counter()
    pixels, angle = turned
    made = prepare(pixels)
    run.timings.add("preprocess", time.perf_counter() - started)
    return msgspec.structs.replace(crop, angle=angle), [made]


def _turned(crops: list[Pixels], classify: Classify) -> list[tuple[Pixels, int] | ItemError]:
    """Return the crops upright with their angles in degrees; if a batch fails, its crops one by one."""
    try:
        classes, angles, _ = classify(crops)
    except RuntimeError as error:
        if len(crops) > 1:
            return [one for crop in crops for one in _turned([crop], classify)]
        return [
            ItemError(
                ErrorCode.RECOGNITION_FAILED,
                f"the orientation of this crop could not be classified ({type(error).__name__}: {error}): "
                "read it without detect_orientation, or leave it out",
            )
        ]
    return list(zip(rectify_crops(crops, classes), angles, strict=True))
