"""`detection` on the device: `ahead`(decode, resize) → `batched`(detector) → boxes."""

import time
from collections.abc import Iterator, Sequence

from contract.kinds.detection import DetectionParameters
from contract.lines import DetectionLine, Line
from contract.records import Item
from worker.images.files import Decoding
from worker.kinds.page_lines import boxes_of
from worker.kinds.page_steps import Boxes, PageSteps
from worker.kinds.pages import Page, PageBatches, decoding_of
from worker.models.pool import Models
from worker.pipeline.run import PREFETCH_BATCHES, ChunkRun, name_of


class DetectionPipeline:
    """Pages to the boxes of their words."""

    def __init__(self, batches: PageBatches, decoding: Decoding) -> None:
        self._batches = batches
        self.batch_size = batches.size
        self.prefetch = PREFETCH_BATCHES * batches.size
        self.decoding = decoding
        self.models = (batches.detector.identity,)

    def run(self, items: Sequence[Item], run: ChunkRun) -> Iterator[Line]:
        """Yield one line per page, in order; a `Pipeline.run`."""
        found = self._batches.found(items, run, last=True)
        for page, boxes in self._batches.ahead(found, self._batches.steps.boxes, run):
            yield _line(page, boxes, run)


def _line(page: Page, boxes: dict[str, Boxes] | None, run: ChunkRun) -> Line:
    started = time.perf_counter()
    if boxes is None:
        assert page.error
        line: Line = run.error_line(page.item, page.error)
    else:
        item = page.item
        found = boxes_of(boxes)
        line = DetectionLine(item.id, name_of(item), item.page or 1, found, item.label, page.note)
    run.timings.add("postprocess", time.perf_counter() - started)
    return line


def _make(parameters: DetectionParameters, models: Models) -> DetectionPipeline:
    detector = models.detectors.get(parameters.detection_model)
    batches = PageBatches(PageSteps(detector, parameters), detector, parameters.detection_batch_size)
    return DetectionPipeline(batches, decoding_of(parameters))


PIPELINE = _make
