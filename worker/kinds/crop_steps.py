"""What crops go through before the models, by a job's parameters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contract.architectures import ORIENTATION_MODELS
from contract.kinds.crops import CropParameters
from contract.records import Item
from worker.images.files import Decoding
from worker.kernels.pieces import PieceShape
from worker.kernels.pixels import Pixels
from worker.kinds.crops import Crop, Made, Prepare, prepared_crops
from worker.kinds.fed import fed_crops
from worker.models.imports import deferred_imports
from worker.models.pool import Models
from worker.pipeline.run import ChunkRun

if TYPE_CHECKING:
    from worker.kinds.page_steps import Classify

CROP_ORIENTATION, _ = ORIENTATION_MODELS


@dataclass(frozen=True)
class CropSteps:
    """The steps of one job.

    Args:
        padding: what is added on each side of a region, as a share of its height
        classify: docTR's classifier of crops; None to read them as they are
        decoding: how crops, and the pages that regions are parts of, are decoded
    """

    padding: float = 0.0
    classify: "Classify | None" = None
    decoding: Decoding = field(default_factory=lambda: Decoding(pages=False))

    @classmethod
    def of(cls, parameters: CropParameters, models: Models) -> "CropSteps":
        """Return the steps with a job's parameters; raises as `ModelPool.get`."""
        orientation = models.orientations.get(CROP_ORIENTATION) if parameters.detect_orientation else None
        decoding = Decoding(pages=False, resolution=parameters.pdf_resolution, forms=parameters.pdf_forms)
        return cls(parameters.padding, orientation, decoding)

    def prepared(
        self,
        items: Sequence[Item],
        prepare: Prepare[Made],
        run: ChunkRun,
        pieces: PieceShape | None = None,
    ) -> Iterator[tuple[Crop, list[Made]]]:
        """Yield each crop with what `prepare` makes of it, in order; without anything if it has an error.

        Args:
            pieces: what `prepare` makes, where a feeder may make the same
        """
        if self.classify is None:
            return self._cut(items, prepare, pieces, run)
        with deferred_imports():
            from worker.kinds.upright import upright_crops

        return upright_crops(self._cut(items, _as_it_is, None, run), self.classify, prepare, run)

    def _cut(
        self, items: Sequence[Item], prepare: Prepare[Made], pieces: PieceShape | None, run: ChunkRun
    ) -> Iterator[tuple[Crop, list[Made]]]:
        if any(item.region is not None for item in items):
            with deferred_imports():
                from worker.kinds.regions import prepared_regions

            return prepared_regions(items, prepare, run, self.padding)
        if run.feeding:
            return fed_crops(items, prepare, pieces, run, run.feeding)
        return prepared_crops(items, prepare, run)


def _as_it_is(pixels: Pixels) -> Pixels:
    return pixels
