"""What crops go through before the models, by a job's parameters."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from contract.architectures import ORIENTATION_MODELS
from contract.kinds.crops import CropParameters
from contract.records import Item
from worker.images.files import Decoding
from worker.kernels.pieces import Pieces, PieceShape, PreparedCrop
from worker.kernels.pixels import Pixels
from worker.kinds.crops import Cut, Made, Prepare, PreparedCrops, prepared_crops
from worker.kinds.fed import fed_pieces, fed_pixels
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
        prepare: Prepare[PreparedCrop],
        run: ChunkRun,
        pieces: PieceShape | None = None,
    ) -> Iterator[PreparedCrops]:
        """Yield the crops in groups with the pieces that `prepare` makes, in order.

        Args:
            pieces: what `prepare` makes, where a feeder may make the same
        """
        if self.classify is None and run.feeding and not _has_regions(items):
            return fed_pieces(items, prepare, pieces, run, run.feeding)
        return ((crops, Pieces.of(made)) for crops, made in self._prepared(items, prepare, run))

    def _prepared(
        self, items: Sequence[Item], prepare: Prepare[PreparedCrop], run: ChunkRun
    ) -> Iterator[Cut[PreparedCrop]]:
        if self.classify is None:
            return self._cut(items, prepare, run)
        if run.feeding and not _has_regions(items):
            cut = fed_pixels(items, run, run.feeding)
        else:
            cut = self._cut(items, _as_it_is, run)
        with deferred_imports():
            from worker.kinds.upright import upright_crops

        return upright_crops(cut, self.classify, prepare, run)

    def _cut(self, items: Sequence[Item], prepare: Prepare[Made], run: ChunkRun) -> Iterator[Cut[Made]]:
        if _has_regions(items):
            with deferred_imports():
                from worker.kinds.regions import prepared_regions

            return prepared_regions(items, prepare, run, self.padding)
        return prepared_crops(items, prepare, run)


def _has_regions(items: Sequence[Item]) -> bool:
    return any(item.region is not None for item in items)


def _as_it_is(pixels: Pixels) -> Pixels:
    return pixels
