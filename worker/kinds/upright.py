"""Crops turned upright before they are read, as docTR turns the words of pages that are not straight."""

import time
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from itertools import islice

from doctr.models._utils import rectify_crops

from contract.errors import ErrorCode, ItemError
from worker.kernels.pixels import Pixels
from worker.kinds.crops import Crops, Cut, Made, Prepare
from worker.kinds.page_steps import Classify
from worker.models.orientation import BATCH_SIZES, CROP_ORIENTATION
from worker.pipeline.ahead import ahead
from worker.pipeline.run import ChunkRun

BATCHES_AHEAD = 2
"""Batches of crops that are classified or wait for the models: one is prepared while one is read."""

_Place = tuple[Crops, int, Pixels | None]
"""A crop, by its place among some, with its pixels; without them if it has an error."""


def upright_crops(
    cut: Iterable[Cut[Pixels]], classify: Classify, prepare: Prepare[Made], run: ChunkRun
) -> Iterator[Cut[Made]]:
    """Yield the crops with their angles and what is made of each, in order; in batches across images.

    Args:
        classify: docTR's classifier of crops
        prepare: makes the pieces that the models take from RGB, (height, width, 3) uint8
    """
    places = ((crops, place, pixels) for crops, made in cut for place, pixels in enumerate(made))
    batches = iter(lambda: list(islice(places, BATCH_SIZES[CROP_ORIENTATION])), [])
    return ahead(run.pool, partial(_upright, classify, prepare, run), batches, BATCHES_AHEAD)


def _upright(classify: Classify, prepare: Prepare[Made], run: ChunkRun, batch: Sequence[_Place]) -> Cut[Made]:
    run.on_alive()
    crops = _gathered(batch)
    started = time.perf_counter()
    turned = iter(_turned([pixels for _, _, pixels in batch if pixels is not None], classify))
    run.timings.add("orient", time.perf_counter() - started)
    made = [
        None if pixels is None else _prepared(crops, place, next(turned), prepare, run)
        for place, (_, _, pixels) in enumerate(batch)
    ]
    return crops, made


def _gathered(batch: Sequence[_Place]) -> Crops:
    """Return crops out of several groups as one."""
    gathered = Crops([crops.items[place] for crops, place, _ in batch])
    for ours, (crops, place, _) in enumerate(batch):
        if place in crops.errors:
            gathered.errors[ours] = crops.errors[place]
        if place in crops.notes:
            gathered.notes[ours] = crops.notes[place]
    return gathered


def _prepared(
    crops: Crops, place: int, turned: tuple[Pixels, int] | ItemError, prepare: Prepare[Made], run: ChunkRun
) -> Made | None:
    if isinstance(turned, ItemError):
        crops.errors[place] = turned
        return None
    started = time.perf_counter()
    pixels, crops.angles[place] = turned
    made = prepare(pixels)
    run.timings.add("preprocess", time.perf_counter() - started)
    return made


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
