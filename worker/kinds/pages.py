"""The stages of page jobs: pages to the words on them; or, where only boxes are asked for, to those."""

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Protocol

import numpy as np
import numpy.typing as npt
import structlog

from contract.errors import ErrorCode, ItemError, TraceOcrError
from contract.lines import DetectionLine, ResultLine
from contract.records import Item
from worker.images.decode import Pixels
from worker.kinds.page_lines import boxes_of, kie_line, ocr_line
from worker.kinds.page_steps import FoundPage, PageSteps
from worker.kinds.recognition import fetch_timed, name_of
from worker.models.detection import Map
from worker.pipeline.ahead import ahead
from worker.pipeline.batching import Prediction, PreparedCrop
from worker.pipeline.run import ChunkRun, Prepared, check_alive

FOUND_AHEAD = 2
"""Detection batches whose words are being cut out while the model has the next one."""


class Detect(Protocol):
    """What the detection model offers this stage; `worker.models.detection.Detector` is the real one."""

    def maps(self, batch: Pixels) -> list[Map]: ...


@dataclass(slots=True)
class _Page:
    """A page on its way: its image and the model's input, then the model's map; or why there is none."""

    item: Item
    seconds: dict[str, float]
    failure: ItemError | None = None
    note: str | None = None
    pixels: Pixels | None = None
    scaled: Pixels | None = None
    found: Map | None = None
    batch: int = 0


@dataclass(frozen=True, slots=True)
class ReadablePage:
    """A page's words, to be read: `crops` per class, without their pixels, and how many pieces each has."""

    found: FoundPage
    crops: dict[str, list[tuple[PreparedCrop, int]]]
    pieces: list[Pixels] = field(default_factory=list)

    def without_pixels(self) -> "ReadablePage":
        """Return the same once its pieces are read."""
        return ReadablePage(self.found, self.crops)


@dataclass(frozen=True, slots=True)
class BoxedPage:
    """A page of which the boxes are all that is asked for, so that there are no pieces."""

    boxes: dict[str, npt.NDArray[np.float32]]
    pieces: list[Pixels] = field(default_factory=list, init=False)

    def without_pixels(self) -> "BoxedPage":
        """Return the same."""
        return self


class DetectionStage:
    """Pages to boxes: decoding, detection in full batches, and what follows, each ahead of the next.

    Args:
        steps: docTR's steps with the job's parameters
        detector: the detection model
        batch_size: pages per batch
    """

    _reads_last: ClassVar = True

    def __init__(self, steps: PageSteps, detector: Detect, batch_size: int) -> None:
        self._steps, self._detector, self._batch_size = steps, detector, batch_size

    def prepared(self, items: Sequence[Item], run: ChunkRun) -> Iterator[Prepared]:
        """Yield what each page comes to, in order."""
        scaled = ahead(run.pool, lambda item: self._scaled(item, run), items, run.window)
        detected = self._detected(scaled, run)
        return ahead(
            run.pool, lambda page: self._prepared(page, run), detected, FOUND_AHEAD * self._batch_size
        )

    def line(self, item: Item, ready: Prepared, _predictions: list[Prediction], _run: ChunkRun) -> ResultLine:
        """Return the boxes of a page."""
        assert isinstance(ready.outcome, BoxedPage)
        boxes = boxes_of(ready.outcome.boxes)
        return DetectionLine(item.id, name_of(item), item.page or 1, boxes, item.label, ready.note)

    def _scaled(self, item: Item, run: ChunkRun) -> _Page:
        """Fetch and decode a page and scale it to the model's input, in a thread of the pool."""
        run.on_alive()
        _, data, fetching = fetch_timed(item, run)
        page = _Page(item, {"fetch": fetching}, data if isinstance(data, ItemError) else None)
        if isinstance(data, ItemError):
            return page
        started = time.perf_counter()
        try:
            image = run.decode(item, data)
        except ItemError as error:
            page.failure = error
            return page
        finally:
            page.seconds["decode"] = time.perf_counter() - started
        started = time.perf_counter()
        page.pixels, page.note = image.pixels, image.note
        page.scaled = self._steps.resize(image.pixels)
        page.seconds["preprocess"] = time.perf_counter() - started
        return page

    def _detected(self, pages: Iterator[_Page], run: ChunkRun) -> Iterator[_Page]:
        """Yield pages with their maps, in order; batches are full but for the last."""
        held: list[_Page] = []
        readable: list[_Page] = []
        for page in pages:
            held.append(page)
            if page.scaled is not None:
                readable.append(page)
            if len(readable) == self._batch_size:
                self._detect(readable, run)
                yield from held
                held, readable = [], []
        if readable:
            self._detect(readable, run)
        yield from held

    def _detect(self, pages: list[_Page], run: ChunkRun) -> None:
        """Give a batch to the model; a page that fails alone costs only itself."""
        check_alive(run)
        started = time.perf_counter()
        try:
            self._map(pages)
        except RuntimeError:
            for page in pages:
                self._map_alone(page, run)
        pages[0].seconds["detect"] = time.perf_counter() - started
        pages[0].batch = len(pages) if self._reads_last else 0
        for page in pages:
            page.scaled = None

    def _map(self, pages: list[_Page]) -> None:
        scaled = np.stack([page.scaled for page in pages if page.scaled is not None])
        for page, found in zip(pages, self._detector.maps(scaled), strict=True):
            page.found = found

    def _map_alone(self, page: _Page, run: ChunkRun) -> None:
        check_alive(run)
        try:
            self._map([page])
        except RuntimeError as error:
            page.failure = _failed(error)

    def _prepared(self, page: _Page, run: ChunkRun) -> Prepared:
        """Bring a page from its map to what the next model reads, in a thread of the pool."""
        run.on_alive()
        if page.failure:
            return Prepared(page.failure, page.note, page.seconds, page.batch)
        assert page.pixels is not None
        assert page.found is not None
        started = time.perf_counter()
        try:
            outcome = self._outcome(page.pixels, page.found, run)
        except (TraceOcrError, MemoryError):
            raise
        # Any exception: geometry of a stranger's page trips OpenCV and numpy in many ways; it costs the page.
        except Exception as error:
            structlog.get_logger().warning("page_failed", item=page.item.id, exc_info=error)
            return Prepared(_failed(error), page.note, page.seconds, page.batch)
        page.seconds["crop"] = time.perf_counter() - started
        return Prepared(outcome, page.note, page.seconds, page.batch)

    def _outcome(self, pixels: Pixels, found: Map, _run: ChunkRun) -> "ReadablePage | BoxedPage":
        return BoxedPage(self._steps.boxes(pixels, found))


class WordStage(DetectionStage):
    """Pages to their words: those of all pages of the chunk share recognition batches.

    Args:
        group: words are grouped into lines and blocks, as `/ocr` gives them; if not, by class, as `/kie` does
    """

    _reads_last: ClassVar = False

    def __init__(self, steps: PageSteps, detector: Detect, batch_size: int, *, group: bool) -> None:
        super().__init__(steps, detector, batch_size)
        self._to_line = ocr_line if group else kie_line

    def line(self, item: Item, ready: Prepared, predictions: list[Prediction], run: ChunkRun) -> ResultLine:
        """Return the text of a page of which all pieces were read."""
        page = ready.outcome
        assert isinstance(page, ReadablePage)
        left = iter(predictions)
        words = {
            name: [run.reader.join(crop, [next(left) for _ in range(pieces)]) for crop, pieces in crops]
            for name, crops in page.crops.items()
        }
        return self._to_line(self._steps.build(page.found, words), item, name_of(item), ready.note)

    def _outcome(self, pixels: Pixels, found: Map, run: ChunkRun) -> ReadablePage:
        page = self._steps.find(pixels, found)
        pieces: list[Pixels] = []
        crops: dict[str, list[tuple[PreparedCrop, int]]] = {}
        for name, words in page.classes.items():
            prepared = [run.reader.prepare(crop) for crop in words.crops]
            pieces += [piece for crop in prepared for piece in crop.pieces]
            crops[name] = [(crop.without_pixels(), len(crop.pieces)) for crop in prepared]
        return ReadablePage(page.without_pixels(), crops, pieces)


class NothingToRead:
    """The reader of jobs that end with detection."""

    def __init__(self, detector: Any) -> None:
        self._detector = detector

    @property
    def fitting_batch_size(self) -> int | None:
        """The detection model's."""
        fitting: int | None = self._detector.fitting_batch_size
        return fitting

    def prepare(self, _: Pixels) -> PreparedCrop:
        """Fail: no crop comes here."""
        raise NotImplementedError

    def read(self, _: Pixels) -> list[Prediction]:
        """Fail: no crop comes here."""
        raise NotImplementedError

    def join(self, _: PreparedCrop, __: Sequence[Prediction]) -> Prediction:
        """Fail: no crop comes here."""
        raise NotImplementedError


def _failed(error: Exception) -> ItemError:
    return ItemError(
        ErrorCode.DETECTION_FAILED,
        f"the words of this page could not be found ({type(error).__name__}: {error}): "
        "try another detection_model, or leave it out",
    )
