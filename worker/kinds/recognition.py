"""`recognition` on the device: `ahead`(decode, prepare) → `batched`(recognisers) → join."""

import time
from collections.abc import Iterator, Sequence

from contract.kinds.recognition import RecognitionParameters
from contract.lines import Line, RecognitionLine
from contract.records import Item
from worker.kinds.crop_steps import CropSteps
from worker.kinds.crops import Crops
from worker.kinds.reading import Readers, Reading, Readings, make_readers
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
        for crops, readings in self._readers.read(prepared, run, self.batch_size):
            started = time.perf_counter()
            lines = self._lines(crops, readings, run)
            run.timings.add("postprocess", time.perf_counter() - started)
            yield from lines

    def _lines(self, crops: Crops, readings: Readings, run: ChunkRun) -> list[Line]:
        note_of, angle_of = crops.notes.get, crops.angles.get
        lines: list[Line] = []
        for place, (item, reading) in enumerate(zip(crops.items, readings, strict=True)):
            if not isinstance(reading, Reading):
                lines.append(run.error_line(item, crops.error(place, reading)))
                continue
            value, confidence, model = reading
            lines.append(
                RecognitionLine(
                    item.id,
                    name_of(item),
                    value,
                    confidence,
                    item.label,
                    note_of(place),
                    model if self._several else None,
                    item.region.name if item.region else None,
                    angle_of(place),
                )
            )
        return lines


def _make(parameters: RecognitionParameters, models: Models) -> RecognitionPipeline:
    steps, size = CropSteps.of(parameters, models), parameters.recognition_batch_size
    return RecognitionPipeline(make_readers(parameters, models), size, steps)


PIPELINE = _make
