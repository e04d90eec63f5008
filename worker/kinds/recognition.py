"""`recognition` on the device: `ahead`(decode, prepare) → `batched`(recognisers) → join."""

import time
from collections.abc import Iterator, Sequence

from contract.errors import ItemError
from contract.kinds.recognition import RecognitionParameters
from contract.lines import Line, RecognitionLine
from contract.records import Item
from worker.kinds.crop_steps import CropSteps
from worker.kinds.crops import Crop
from worker.kinds.reading import Readers, Reading, make_readers
from worker.models.pool import Models
from worker.pipeline.run import PREFETCH_BATCHES, ChunkRun, name_of


class RecognitionPipeline:
    """Reads crops in batches of `batch_size` pieces; a wide crop has several pieces."""

    def __init__(self, readers: Readers, batch_size: int, steps: CropSteps | None = None) -> None:
        self._readers, self._steps = readers, steps or CropSteps()
        self.decoding = self._steps.decoding
        self.batch_size = batch_size
        self.prefetch = PREFETCH_BATCHES * batch_size
        self.models = readers.models
        self._several = len(self.models) > 1

    def run(self, items: Sequence[Item], run: ChunkRun) -> Iterator[Line]:
        """Yield one line per crop, in order; a `Pipeline.run`."""
        prepared = self._steps.prepared(items, self._readers.prepare, run, self._readers.pieces)
        seconds, clock = 0.0, time.perf_counter
        try:
            for crop, readings in self._readers.read(prepared, run, self.batch_size):
                started = clock()
                line = self._line(crop, readings, run)
                seconds += clock() - started
                yield line
        finally:
            run.timings.add("postprocess", seconds)

    def _line(self, crop: Crop, readings: list[Reading] | ItemError, run: ChunkRun) -> Line:
        if crop.error:
            return run.error_line(crop.item, crop.error)
        if isinstance(readings, ItemError):
            return run.error_line(crop.item, readings)
        ((value, confidence, model),) = readings
        item = crop.item
        return RecognitionLine(
            item.id,
            name_of(item),
            value,
            confidence,
            item.label,
            crop.note,
            model if self._several else None,
            item.region.name if item.region else None,
            crop.angle,
        )


def _make(parameters: RecognitionParameters, models: Models) -> RecognitionPipeline:
    steps, size = CropSteps.of(parameters, models), parameters.recognition_batch_size
    return RecognitionPipeline(make_readers(parameters, models), size, steps)


PIPELINE = _make
