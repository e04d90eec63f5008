"""The pipelines of page jobs: batches that span pages, and each page's result; the models are fakes."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor
from typing import Any

import numpy as np
import pytest

from contract.errors import (
    ErrorCode,
    InterruptedChunkError,
    ItemError,
    StorageUnavailableError,
    UnfitWorkerError,
)
from contract.kinds.detection import DetectionParameters
from contract.kinds.kie import KieParameters
from contract.kinds.ocr import OcrParameters
from contract.lines import DetectionLine, ErrorLine, KieLine, Line, OcrLine
from contract.records import Item
from tests.unit.worker.conftest import FakeDetector, FakePool, FakeReader, read_all
from worker.images.decode import DecodedImage
from worker.kernels.pixels import Pixels
from worker.kinds import make_pipeline
from worker.models.pool import Models
from worker.pipeline.run import ChunkRun, Pipeline

SIDE = FakeDetector.input_shape[1]
"""Pixels: a page of just the model's input is not scaled, so that words keep their colours to the pixel."""

MakeRun = Callable[..., ChunkRun]


def page_of(*words: str) -> Pixels:
    """Return a white page, its words one under another and each as red as it says; `wide...` fill a line."""
    page = np.full((SIDE, SIDE, 3), 255, np.uint8)
    for index, word in enumerate(words):
        top, (height, width) = 4 + 24 * index, (3, 240) if word.startswith("wide") else (10, 24)
        page[top : top + height, 8 : 8 + width] = int(word.removeprefix("wide")), 0, 255
    return page


def pages_of(*names: str) -> list[Item]:
    return [Item(id=name, uri=f"/scans/{name}.png") for name in names]


@pytest.fixture
def make_run(pool: Executor) -> MakeRun:
    """A run over fakes: an item's name is its words; `blank` has none, `bad...` is not there or damaged."""

    def fetch(item: Item) -> bytes:
        if item.id == "bad":
            raise ItemError(ErrorCode.NOT_FOUND, "there is no such page")
        return b""

    def decode(item: Item, _: bytes) -> DecodedImage:
        if item.id == "damaged":
            raise ItemError(ErrorCode.DAMAGED_PAGE, "page 1 cannot be read")
        return DecodedImage(page_of(*([] if item.id.startswith("blank") else item.id.split("-"))))

    def make(**changes: Any) -> ChunkRun:
        defaults: dict[str, Any] = {
            "fetch": fetch,
            "decode": decode,
            "attempt": 1,
            "pool": pool,
            "window": 4,
            "stop": threading.Event(),
        }
        return ChunkRun(**{**defaults, **changes})

    return make


@pytest.fixture
def models(reader: FakeReader, detector: FakeDetector) -> Models:
    return Models(FakePool(reader), FakePool(detector), FakePool(None))  # type: ignore[arg-type]


@pytest.fixture
def boxes(models: Models) -> Pipeline:
    """The pipeline of `detection`, two pages to a batch."""
    return make_pipeline("detection", DetectionParameters(), models)


@pytest.fixture
def words(models: Models) -> Pipeline:
    """The pipeline of `ocr`, two pages and four words to a batch."""
    return make_pipeline("ocr", OcrParameters(recognition_batch_size=4), models)


@pytest.fixture
def fields(models: Models) -> Pipeline:
    """The pipeline of `kie`, with the same fakes."""
    return make_pipeline("kie", KieParameters(recognition_batch_size=4), models)


def words_of(line: Line) -> list[str]:
    """Return the text of a page, or the code of an error."""
    if isinstance(line, ErrorLine):
        return [line.error.code.value]
    assert isinstance(line, OcrLine)
    return [
        word.value for block in line.pages[0].blocks for text_line in block.lines for word in text_line.words
    ]


def boxes_on(line: Line) -> int | str:
    """Return how many boxes a page has; or, of an error, its code."""
    if isinstance(line, ErrorLine):
        return line.error.code.value
    assert isinstance(line, DetectionLine)
    return len(line.bounding_boxes)


class TestDetectionBatches:
    def test_batches_are_full_across_pages_that_cannot_be_read(
        self, make_run: MakeRun, boxes: Pipeline, detector: FakeDetector
    ) -> None:
        names = ["10", "bad", "20-30", "40", "damaged", "50-60-70", "80"]

        lines, timings = read_all(pages_of(*names), make_run(), boxes)

        assert detector.batch_sizes == [2, 2, 1]
        assert (timings.batches, timings.pieces) == (3, 5)
        assert [line.id for line in lines] == names
        assert [boxes_on(line) for line in lines] == [1, "not_found", 2, 1, "damaged_page", 3, 1]

    def test_pages_that_cannot_be_read_never_reach_the_model(
        self, make_run: MakeRun, boxes: Pipeline, detector: FakeDetector
    ) -> None:
        lines, timings = read_all(pages_of("bad", "damaged"), make_run(attempt=2), boxes)

        assert (detector.batch_sizes, timings.batches) == ([], 0)
        assert [boxes_on(line) for line in lines] == ["not_found", "damaged_page"]
        error = lines[0]
        assert isinstance(error, ErrorLine)
        assert (error.uri, error.attempts) == ("/scans/bad.png", 2)
        assert error.error.message == "there is no such page"

    def test_nothing_is_given_to_the_model_that_reads_words(
        self, make_run: MakeRun, boxes: Pipeline, reader: FakeReader
    ) -> None:
        read_all(pages_of("10", "20"), make_run(), boxes)

        assert (reader.prepared, reader.batch_sizes) == (0, [])

    def test_stages_are_timed(self, make_run: MakeRun, boxes: Pipeline, words: Pipeline) -> None:
        _, of_boxes = read_all(pages_of("10"), make_run(), boxes)
        _, of_words = read_all(pages_of("10"), make_run(), words)

        stages = {"fetch", "decode", "preprocess", "detect", "crop", "postprocess"}
        assert set(of_boxes.seconds) == stages
        assert set(of_words.seconds) == stages | {"forward"}


class TestWordBatches:
    def test_the_words_of_all_pages_share_batches(
        self, make_run: MakeRun, words: Pipeline, detector: FakeDetector, reader: FakeReader
    ) -> None:
        # given nine words: on four pages, between which others have none or cannot be read
        names = ["10-20-30", "blank", "40-50", "bad", "60", "70-80-90"]

        lines, timings = read_all(pages_of(*names), make_run(), words)

        assert detector.batch_sizes == [2, 2, 1]
        assert reader.batch_sizes == [4, 4, 1]
        assert (timings.batches, timings.pieces) == (3, 9)
        assert [line.id for line in lines] == names
        assert [words_of(line) for line in lines] == [
            ["10", "20", "30"],
            [],
            ["40", "50"],
            ["not_found"],
            ["60"],
            ["70", "80", "90"],
        ]

    def test_a_wide_word_is_joined_from_pieces_of_two_batches(
        self, make_run: MakeRun, words: Pipeline, reader: FakeReader
    ) -> None:
        # given a word of three pieces, of which one still finds room in the first batch
        lines, _ = read_all(pages_of("10-20-30", "wide40-50"), make_run(), words)

        assert reader.batch_sizes == [4, 3]
        assert words_of(lines[1]) == ["40+40+40", "50"]

    def test_order_does_not_depend_on_which_page_is_ready_first(
        self, make_run: MakeRun, words: Pipeline
    ) -> None:
        # given a first page that is decoded only after the second one was
        second_done = threading.Event()

        def decode(item: Item, _: bytes) -> DecodedImage:
            if item.id == "10":
                assert second_done.wait(30)
            else:
                second_done.set()
            return DecodedImage(page_of(item.id))

        lines, _ = read_all(pages_of("10", "20"), make_run(decode=decode), words)

        assert [words_of(line) for line in lines] == [["10"], ["20"]]

    def test_fields_hold_the_words_of_their_class(self, make_run: MakeRun, fields: Pipeline) -> None:
        lines, _ = read_all(pages_of("10-20", "30"), make_run(), fields)

        kinds = [(field.field_type, sorted(word.value for word in field.values)) for field in _fields(lines)]
        assert kinds == [("words", ["10", "20"]), ("words", ["30"])]


def _fields(lines: list[Line]) -> list[Any]:
    return [field for line in lines if isinstance(line, KieLine) for field in line.extracted_fields]


class TestLines:
    def test_a_page_without_words_is_a_line_without_blocks(
        self, make_run: MakeRun, words: Pipeline, reader: FakeReader
    ) -> None:
        (line,), _ = read_all(pages_of("blank"), make_run(), words)

        assert isinstance(line, OcrLine)
        assert line.pages[0].blocks == ()
        assert line.dimensions == (SIDE, SIDE)
        assert reader.batch_sizes == []

    def test_a_page_without_words_has_no_boxes_and_an_empty_field(
        self, make_run: MakeRun, boxes: Pipeline, fields: Pipeline
    ) -> None:
        (of_boxes,), _ = read_all(pages_of("blank"), make_run(), boxes)
        (of_fields,), _ = read_all(pages_of("blank"), make_run(), fields)

        assert boxes_on(of_boxes) == 0
        assert [field.values for field in _fields([of_fields])] == [()]

    @pytest.mark.parametrize("stage", ["boxes", "words", "fields"])
    def test_a_line_bears_name_page_label_and_note(
        self, stage: str, make_run: MakeRun, request: pytest.FixtureRequest
    ) -> None:
        item = Item(id="scans/7#page=3", uri="s3://bucket/scans/9.pdf", label="invoice", page=3)
        run = make_run(decode=lambda *_: DecodedImage(page_of("10"), "first of 2 frames"))

        (line,), _ = read_all([item], run, request.getfixturevalue(stage))

        assert isinstance(line, OcrLine | DetectionLine | KieLine)
        assert (line.id, line.name, line.page) == ("scans/7#page=3", "9.pdf", 3)
        assert (line.label, line.note) == ("invoice", "first of 2 frames")

    def test_an_image_is_page_one_of_itself(self, make_run: MakeRun, boxes: Pipeline) -> None:
        (line,), _ = read_all(pages_of("10"), make_run(), boxes)

        assert isinstance(line, DetectionLine)
        assert line.page == 1

    def test_no_pages_no_lines(self, make_run: MakeRun, words: Pipeline) -> None:
        assert read_all([], make_run(), words)[0] == []


class TestAPageFails:
    def test_a_page_that_the_detection_model_cannot_stand_costs_only_itself(
        self, make_run: MakeRun, words: Pipeline, detector: FakeDetector
    ) -> None:
        detector.broken = {20}

        lines, _ = read_all(pages_of("10", "20", "30"), make_run(), words)

        assert detector.batch_sizes == [2, 1, 1, 1]
        assert [words_of(line) for line in lines] == [["10"], ["detection_failed"], ["30"]]
        error = lines[1]
        assert isinstance(error, ErrorLine)
        assert "RuntimeError: device-side assert" in error.error.message

    def test_a_batch_that_fails_is_counted_once(
        self, make_run: MakeRun, boxes: Pipeline, detector: FakeDetector
    ) -> None:
        detector.broken = {20}

        _, timings = read_all(pages_of("10", "20", "30"), make_run(), boxes)

        assert (timings.batches, timings.pieces) == (2, 3)

    def test_a_batch_whose_first_page_fails_is_counted_too(
        self, make_run: MakeRun, boxes: Pipeline, detector: FakeDetector
    ) -> None:
        detector.broken = {10}

        _, timings = read_all(pages_of("10", "20", "30"), make_run(), boxes)

        assert (timings.batches, timings.pieces) == (2, 3)

    def test_a_page_whose_words_cannot_be_cut_out_costs_only_itself(
        self, make_run: MakeRun, words: Pipeline, reader: FakeReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given words that are not to be made ready for the model
        prepare = reader.prepare

        def refuse(pixels: Pixels) -> Any:
            if 20 in pixels[:, :, 0]:
                raise ValueError("degenerate polygon")
            return prepare(pixels)

        monkeypatch.setattr(reader, "prepare", refuse)

        lines, _ = read_all(pages_of("10", "20", "30"), make_run(), words)

        assert [words_of(line) for line in lines] == [["10"], ["detection_failed"], ["30"]]
        error = lines[1]
        assert isinstance(error, ErrorLine)
        assert "ValueError: degenerate polygon" in error.error.message

    def test_a_page_with_a_word_that_the_model_cannot_read_fails_whole(
        self, make_run: MakeRun, words: Pipeline, reader: FakeReader
    ) -> None:
        reader.broken = {30}

        lines, _ = read_all(pages_of("10", "20-30", "40"), make_run(), words)

        assert [words_of(line) for line in lines] == [["10"], ["recognition_failed"], ["40"]]

    def test_storage_that_is_away_ends_the_chunk(self, make_run: MakeRun, words: Pipeline) -> None:
        def fetch(_: Item) -> bytes:
            raise StorageUnavailableError("S3 cannot be reached")

        with pytest.raises(StorageUnavailableError):
            read_all(pages_of("10", "20"), make_run(fetch=fetch), words)

    def test_a_device_that_is_lost_ends_the_chunk_and_blames_no_page(
        self, make_run: MakeRun, words: Pipeline, detector: FakeDetector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(_: Pixels) -> Any:
            raise UnfitWorkerError("the device has failed")

        monkeypatch.setattr(detector, "read", lost)

        with pytest.raises(UnfitWorkerError):
            read_all(pages_of("10", "20"), make_run(), words)

    @pytest.mark.parametrize(
        "error", [MemoryError("32 GiB"), StorageUnavailableError("S3 is away")], ids=repr
    )
    def test_what_is_no_fault_of_the_page_ends_the_chunk(
        self, error: Exception, make_run: MakeRun, words: Pipeline, reader: FakeReader, monkeypatch: Any
    ) -> None:
        def fail(_: Pixels) -> Any:
            raise error

        monkeypatch.setattr(reader, "prepare", fail)

        with pytest.raises(type(error)):
            read_all(pages_of("10"), make_run(), words)


class TestInterruption:
    def test_nothing_more_is_read_once_the_worker_stops(
        self, make_run: MakeRun, words: Pipeline, detector: FakeDetector, reader: FakeReader
    ) -> None:
        # given a stop that comes while the first words are read
        stop = threading.Event()
        run = make_run(stop=stop, on_progress=lambda items: stop.set())

        with pytest.raises(InterruptedChunkError):
            read_all(pages_of(*map(str, range(1, 41))), run, words)

        assert reader.batch_sizes == [4]
        assert sum(detector.batch_sizes) < 16

    def test_a_chunk_that_comes_after_the_stop_is_not_begun(
        self, make_run: MakeRun, boxes: Pipeline, detector: FakeDetector
    ) -> None:
        stop = threading.Event()
        stop.set()

        with pytest.raises(InterruptedChunkError):
            read_all(pages_of("10"), make_run(stop=stop), boxes)

        assert detector.batch_sizes == []


class TestProgress:
    def test_it_counts_the_pages_that_were_read(self, make_run: MakeRun, words: Pipeline) -> None:
        progress: list[int] = []

        read_all(pages_of("10-20-30", "40-50-60", "70"), make_run(on_progress=progress.append), words)

        assert progress == [1, 3]

    def test_every_page_and_batch_is_a_sign_of_life(self, make_run: MakeRun, boxes: Pipeline) -> None:
        alive: list[None] = []

        read_all(pages_of(*"12345"), make_run(on_alive=lambda: alive.append(None)), boxes)

        pages, detection_batches = 5, 3
        # Each page as it is decoded, and as it is brought to its boxes.
        assert len(alive) == 2 * pages + detection_batches


def test_what_fits_is_what_fits_the_model_that_reads_last(
    make_run: MakeRun, boxes: Pipeline, words: Pipeline, detector: FakeDetector, reader: FakeReader
) -> None:
    detector.fitting_batch_size, reader.fitting_batch_size = 1, 3

    fitting = [read_all(pages_of("10"), make_run(), pipeline)[1] for pipeline in (boxes, words)]

    assert [timings.fitting_batch_size for timings in fitting] == [1, 3]
