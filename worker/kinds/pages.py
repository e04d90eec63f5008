"""Steps shared by the kinds that read pages: pages to maps, and words to strings."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import structlog

from contract.errors import ErrorCode, ItemError, TraceOcrError
from contract.kinds.detection import DetectionParameters
from contract.lines import Line, ResultLine
from contract.records import Item
from worker.images.files import Decoding
from worker.kernels.pieces import Pieces
from worker.kernels.pixels import Pixels
from worker.kinds.page_steps import FoundPage, MapModel, PageSteps, WordSteps
from worker.kinds.reading import Readers, Reading, Readings, error_in
from worker.models.detection import Map
from worker.pipeline.ahead import ahead
from worker.pipeline.batched import Block, batched
from worker.pipeline.run import PREFETCH_BATCHES, ChunkRun

FOUND_AHEAD = 2
"""Detection batches whose words are cut out ahead, while the model runs the next batch."""


def decoding_of(parameters: DetectionParameters) -> Decoding:
    """Return how a job's pages are decoded."""
    return Decoding(pages=True, resolution=parameters.pdf_resolution, forms=parameters.pdf_forms)


@dataclass(slots=True)
class Page:
    """A page in the pipeline, with its pixels until its words are cut out, or its error."""

    item: Item
    note: str | None = None
    pixels: Pixels | None = None
    error: ItemError | None = None


@dataclass(frozen=True)
class PageBatches:
    """Pages to maps: `ahead`(decode, resize) → `batched`(detector).

    Args:
        steps: docTR's steps with the job's parameters
        detector: the detection model
        size: pages per batch
    """

    steps: PageSteps
    detector: MapModel
    size: int

    def found(
        self, items: Sequence[Item], run: ChunkRun, *, last: bool = False
    ) -> Iterator[tuple[Page, Map | None]]:
        """Yield each page with its map, in order; None for a page with an error.

        Args:
            last: the detection model is the pipeline's last model
        """
        resized = ahead(run.pool, lambda item: self._resized(item, run), items, run.window)
        detected = batched(
            resized,
            self.detector,
            run,
            size=self.size,
            stage="detect",
            code=ErrorCode.DETECTION_FAILED,
            last=last,
        )
        for page, maps in detected:
            found = maps[0] if maps else None
            if isinstance(found, ItemError):
                page.error, page.pixels, found = found, None, None
            yield page, found

    def _resized(self, item: Item, run: ChunkRun) -> Block[Page]:
        """Decode a page and scale it to the model's input; runs in a thread of the pool."""
        run.on_alive()
        image = run.decoded(item, run.fetched(item))
        if isinstance(image, ItemError):
            return Block(Page(item, error=image), [], [0])
        started = time.perf_counter()
        resized = self.steps.resize(image.pixels)
        run.timings.add("preprocess", time.perf_counter() - started)
        return Block(Page(item, image.note, image.pixels), resized[None], [1])

    def ahead(
        self,
        found: Iterator[tuple[Page, Map | None]],
        step: Callable[[Pixels, Map], Any],
        run: ChunkRun,
    ) -> Iterator[tuple[Page, Any]]:
        """Yield each page with a step's result for its map, computed ahead in the pool; None for an error."""

        def done(pair: tuple[Page, Map | None]) -> tuple[Page, Any]:
            run.on_alive()
            return _stepped(*pair, step, run)

        return ahead(run.pool, done, found, FOUND_AHEAD * self.size)


def _stepped(
    page: Page, found: Map | None, step: Callable[[Pixels, Map], Any], run: ChunkRun
) -> tuple[Page, Any]:
    if found is None or page.pixels is None:
        return page, None
    started = time.perf_counter()
    try:
        return page, step(page.pixels, found)
    except (TraceOcrError, MemoryError):
        raise
    # Any exception: OpenCV and numpy fail in many ways on unusual geometry; only this page fails.
    except Exception as error:
        structlog.get_logger().warning("page_failed", item=page.item.id, exc_info=error)
        page.error = ItemError(
            ErrorCode.DETECTION_FAILED,
            f"the words of this page could not be found ({type(error).__name__}: {error}): "
            "try another detection_model, or leave the page out",
        )
        return page, None
    finally:
        page.pixels = None
        run.timings.add("crop", time.perf_counter() - started)


NO_PIECES = Pieces([], [])
"""Those of a page with an error."""


@dataclass(frozen=True, slots=True)
class _Words:
    """A page's words: the number of each class, whose crops follow each other."""

    found: FoundPage
    classes: dict[str, int]


ToLine = Callable[[Any, Item, str | None], ResultLine]
"""(docTR's page, item, note) -> line."""


class WordPipeline:
    """Pages to their words: `PageBatches` → `ahead`(cut) → `batched`(recogniser) → line.

    The words of all pages of a chunk share recognition batches.

    Args:
        batches: pages to maps
        steps: docTR's steps with the job's parameters
        readers: the recognition models
        batch_size: pieces per recognition batch
        to_line: makes the line of a page that docTR has built
        decoding: how to decode a page's file
    """

    def __init__(
        self,
        batches: PageBatches,
        steps: WordSteps,
        readers: Readers,
        batch_size: int,
        to_line: ToLine,
        decoding: Decoding,
    ) -> None:
        self._batches, self._steps, self._readers, self._to_line = batches, steps, readers, to_line
        self.batch_size = batch_size
        self.prefetch = PREFETCH_BATCHES * batches.size
        self.decoding = decoding
        self.models = (batches.detector.identity, *readers.models)

    def run(self, items: Sequence[Item], run: ChunkRun) -> Iterator[Line]:
        """Yield one line per page, in order; a `Pipeline.run`."""
        cut = self._batches.ahead(self._batches.found(items, run), self._cut, run)
        owned = (((page, made and made[0]), made[1] if made else NO_PIECES) for page, made in cut)
        for (page, words), readings in self._readers.read(owned, run, self.batch_size, whole=True):
            yield self._line(page, words, readings, run)

    def _cut(self, pixels: Pixels, found: Map) -> tuple[_Words, Pieces]:
        """Return the words of a page and their pieces; runs in a thread of the pool."""
        page = self._steps.find(pixels, found)
        crops = [self._readers.prepare(crop) for words in page.classes.values() for crop in words.crops]
        classes = {name: len(words.crops) for name, words in page.classes.items()}
        return _Words(page.without_pixels(), classes), Pieces.of(crops)

    def _line(self, page: Page, words: _Words | None, readings: Readings, run: ChunkRun) -> Line:
        started = time.perf_counter()
        if error := page.error or error_in(readings):
            line: Line = run.error_line(page.item, error)
        else:
            assert words
            left = iter([one[:2] for one in readings if isinstance(one, Reading)])
            read = {name: [next(left) for _ in range(number)] for name, number in words.classes.items()}
            line = self._to_line(self._steps.build(words.found, read), page.item, page.note)
        run.timings.add("postprocess", time.perf_counter() - started)
        return line
