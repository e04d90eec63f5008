"""The stages of page jobs: batches that span pages, and what each page comes to; the models are fakes."""

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
from tests.unit.worker.conftest import FakeDetector, FakeReader
from worker.images.decode import DecodedImage, Pixels
from worker.kinds.page_steps import PageSteps
from worker.kinds.pages import DetectionStage, NothingToRead, WordStage
from worker.pipeline.run import ChunkRun, process_chunk

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
def make_run(reader: FakeReader, pool: Executor) -> MakeRun:
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
            "reader": reader,
            "batch_size": 4,
            "attempt": 1,
            "pool": pool,
            "window": 4,
            "on_progress": lambda items: None,
            "stop": threading.Event(),
        }
        return ChunkRun(**{**defaults, **changes})

    return make


@pytest.fixture
def boxes(detector: FakeDetector) -> DetectionStage:
    """The stage of `/detection`, two pages to a batch."""
    return DetectionStage(PageSteps(detector, DetectionParameters()), detector, 2)


@pytest.fixture
def words(detector: FakeDetector) -> WordStage:
    """The stage of `/ocr`, two pages to a batch."""
    return WordStage(PageSteps(detector, OcrParameters()), detector, 2, group=True)


@pytest.fixture
def fields(detector: FakeDetector) -> WordStage:
    """The stage of `/kie`, two pages to a batch."""
    return WordStage(PageSteps(detector, KieParameters()), detector, 2, group=False)


def words_of(line: Line) -> list[str]:
    """Return what stands on a page; or, of an error, its code."""
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
        self, make_run: MakeRun, boxes: DetectionStage, detector: FakeDetector
    ) -> None:
        names = ["10", "bad", "20-30", "40", "damaged", "50-60-70", "80"]

        lines, timings = process_chunk(pages_of(*names), make_run(), boxes)

        assert detector.batch_sizes == [2, 2, 1]
        assert (timings.batches, timings.pieces) == (3, 5)
        assert [line.id for line in lines] == names
        assert [boxes_on(line) for line in lines] == [1, "not_found", 2, 1, "damaged_page", 3, 1]

    def test_pages_that_cannot_be_read_never_reach_the_model(
        self, make_run: MakeRun, boxes: DetectionStage, detector: FakeDetector
    ) -> None:
        lines, timings = process_chunk(pages_of("bad", "damaged"), make_run(attempt=2), boxes)

        assert (detector.batch_sizes, timings.batches) == ([], 0)
        assert [boxes_on(line) for line in lines] == ["not_found", "damaged_page"]
        error = lines[0]
        assert isinstance(error, ErrorLine)
        assert (error.uri, error.attempts) == ("/scans/bad.png", 2)
        assert error.error.message == "there is no such page"

    def test_nothing_is_given_to_the_model_that_reads_words(
        self, make_run: MakeRun, boxes: DetectionStage, reader: FakeReader
    ) -> None:
        process_chunk(pages_of("10", "20"), make_run(), boxes)

        assert (reader.prepared, reader.batch_sizes) == (0, [])

    def test_stages_are_timed(self, make_run: MakeRun, boxes: DetectionStage, words: WordStage) -> None:
        _, of_boxes = process_chunk(pages_of("10"), make_run(), boxes)
        _, of_words = process_chunk(pages_of("10"), make_run(), words)

        stages = {"fetch", "decode", "preprocess", "detect", "crop", "postprocess"}
        assert set(of_boxes.seconds) == stages
        assert set(of_words.seconds) == stages | {"forward"}


class TestWordBatches:
    def test_the_words_of_all_pages_share_batches(
        self, make_run: MakeRun, words: WordStage, detector: FakeDetector, reader: FakeReader
    ) -> None:
        # given nine words: on four pages, between which others have none or cannot be read
        names = ["10-20-30", "blank", "40-50", "bad", "60", "70-80-90"]

        lines, timings = process_chunk(pages_of(*names), make_run(), words)

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
        self, make_run: MakeRun, words: WordStage, reader: FakeReader
    ) -> None:
        # given a word of three pieces, of which one still finds room in the first batch
        lines, _ = process_chunk(pages_of("10-20-30", "wide40-50"), make_run(), words)

        assert reader.batch_sizes == [4, 3]
        assert words_of(lines[1]) == ["40+40+40", "50"]

    def test_order_does_not_depend_on_which_page_is_ready_first(
        self, make_run: MakeRun, words: WordStage
    ) -> None:
        # given a first page that is decoded only after the second one was
        second_done = threading.Event()

        def decode(item: Item, _: bytes) -> DecodedImage:
            if item.id == "10":
                assert second_done.wait(30)
            else:
                second_done.set()
            return DecodedImage(page_of(item.id))

        lines, _ = process_chunk(pages_of("10", "20"), make_run(decode=decode), words)

        assert [words_of(line) for line in lines] == [["10"], ["20"]]

    def test_fields_hold_the_words_of_their_class(self, make_run: MakeRun, fields: WordStage) -> None:
        lines, _ = process_chunk(pages_of("10-20", "30"), make_run(), fields)

        kinds = [(field.field_type, sorted(word.value for word in field.values)) for field in _fields(lines)]
        assert kinds == [("words", ["10", "20"]), ("words", ["30"])]


def _fields(lines: list[Line]) -> list[Any]:
    return [field for line in lines if isinstance(line, KieLine) for field in line.extracted_fields]


class TestLines:
    def test_a_page_without_words_is_a_line_without_blocks(
        self, make_run: MakeRun, words: WordStage, reader: FakeReader
    ) -> None:
        (line,), _ = process_chunk(pages_of("blank"), make_run(), words)

        assert isinstance(line, OcrLine)
        assert line.pages[0].blocks == ()
        assert line.dimensions == (SIDE, SIDE)
        assert reader.batch_sizes == []

    def test_a_page_without_words_has_no_boxes_and_an_empty_field(
        self, make_run: MakeRun, boxes: DetectionStage, fields: WordStage
    ) -> None:
        (of_boxes,), _ = process_chunk(pages_of("blank"), make_run(), boxes)
        (of_fields,), _ = process_chunk(pages_of("blank"), make_run(), fields)

        assert boxes_on(of_boxes) == 0
        assert [field.values for field in _fields([of_fields])] == [()]

    @pytest.mark.parametrize("stage", ["boxes", "words", "fields"])
    def test_a_line_bears_name_page_label_and_note(
        self, stage: str, make_run: MakeRun, request: pytest.FixtureRequest
    ) -> None:
        item = Item(id="scans/7#page=3", uri="s3://bucket/scans/9.pdf", label="invoice", page=3)
        run = make_run(decode=lambda *_: DecodedImage(page_of("10"), "first of 2 frames"))

        (line,), _ = process_chunk([item], run, request.getfixturevalue(stage))

        assert isinstance(line, OcrLine | DetectionLine | KieLine)
        assert (line.id, line.name, line.page) == ("scans/7#page=3", "9.pdf", 3)
        assert (line.label, line.note) == ("invoice", "first of 2 frames")

    def test_an_image_is_page_one_of_itself(self, make_run: MakeRun, boxes: DetectionStage) -> None:
        (line,), _ = process_chunk(pages_of("10"), make_run(), boxes)

        assert isinstance(line, DetectionLine)
        assert line.page == 1

    def test_no_pages_no_lines(self, make_run: MakeRun, words: WordStage) -> None:
        assert process_chunk([], make_run(), words)[0] == []


class TestAPageFails:
    def test_a_page_that_the_detection_model_cannot_stand_costs_only_itself(
        self, make_run: MakeRun, words: WordStage, detector: FakeDetector
    ) -> None:
        detector.broken = {20}

        lines, _ = process_chunk(pages_of("10", "20", "30"), make_run(), words)

        assert detector.batch_sizes == [2, 1, 1, 1]
        assert [words_of(line) for line in lines] == [["10"], ["detection_failed"], ["30"]]
        error = lines[1]
        assert isinstance(error, ErrorLine)
        assert "RuntimeError: device-side assert" in error.error.message

    def test_a_batch_that_fails_is_counted_once(
        self, make_run: MakeRun, boxes: DetectionStage, detector: FakeDetector
    ) -> None:
        detector.broken = {20}

        _, timings = process_chunk(pages_of("10", "20", "30"), make_run(), boxes)

        assert (timings.batches, timings.pieces) == (2, 3)

    def test_a_batch_whose_first_page_fails_is_counted_too(
        self, make_run: MakeRun, boxes: DetectionStage, detector: FakeDetector
    ) -> None:
        detector.broken = {10}

        _, timings = process_chunk(pages_of("10", "20", "30"), make_run(), boxes)

        assert (timings.batches, timings.pieces) == (2, 3)

    def test_a_page_whose_words_cannot_be_cut_out_costs_only_itself(
        self, make_run: MakeRun, words: WordStage, reader: FakeReader, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given words that are not to be made ready for the model
        prepare = reader.prepare

        def refuse(pixels: Pixels) -> Any:
            if 20 in pixels[:, :, 0]:
                raise ValueError("degenerate polygon")
            return prepare(pixels)

        monkeypatch.setattr(reader, "prepare", refuse)

        lines, _ = process_chunk(pages_of("10", "20", "30"), make_run(), words)

        assert [words_of(line) for line in lines] == [["10"], ["detection_failed"], ["30"]]
        error = lines[1]
        assert isinstance(error, ErrorLine)
        assert "ValueError: degenerate polygon" in error.error.message

    def test_a_page_with_a_word_that_the_model_cannot_read_fails_whole(
        self, make_run: MakeRun, words: WordStage, reader: FakeReader
    ) -> None:
        reader.broken = {30}

        lines, _ = process_chunk(pages_of("10", "20-30", "40"), make_run(), words)

        assert [words_of(line) for line in lines] == [["10"], ["recognition_failed"], ["40"]]

    def test_storage_that_is_away_ends_the_chunk(self, make_run: MakeRun, words: WordStage) -> None:
        def fetch(_: Item) -> bytes:
            raise StorageUnavailableError("S3 cannot be reached")

        with pytest.raises(StorageUnavailableError):
            process_chunk(pages_of("10", "20"), make_run(fetch=fetch), words)

    def test_a_device_that_is_lost_ends_the_chunk_and_blames_no_page(
        self, make_run: MakeRun, words: WordStage, detector: FakeDetector, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def lost(_: Pixels) -> Any:
            raise UnfitWorkerError("the device has failed")

        monkeypatch.setattr(detector, "maps", lost)

        with pytest.raises(UnfitWorkerError):
            process_chunk(pages_of("10", "20"), make_run(), words)

    @pytest.mark.parametrize(
        "error", [MemoryError("32 GiB"), StorageUnavailableError("S3 is away")], ids=repr
    )
    def test_what_is_no_fault_of_the_page_ends_the_chunk(
        self, error: Exception, make_run: MakeRun, words: WordStage, reader: FakeReader, monkeypatch: Any
    ) -> None:
        def fail(_: Pixels) -> Any:
            raise error

        monkeypatch.setattr(reader, "prepare", fail)

        with pytest.raises(type(error)):
            process_chunk(pages_of("10"), make_run(), words)


class TestInterruption:
    def test_nothing_more_is_read_once_the_worker_stops(
        self, make_run: MakeRun, words: WordStage, detector: FakeDetector, reader: FakeReader
    ) -> None:
        # given a stop that comes while the first words are read
        stop = threading.Event()
        run = make_run(stop=stop, batch_size=1, on_progress=lambda items: stop.set())

        with pytest.raises(InterruptedChunkError):
            process_chunk(pages_of(*map(str, range(1, 41))), run, words)

        assert reader.batch_sizes == [1]
        assert sum(detector.batch_sizes) < 10

    def test_a_chunk_that_comes_after_the_stop_is_not_begun(
        self, make_run: MakeRun, boxes: DetectionStage, detector: FakeDetector
    ) -> None:
        stop = threading.Event()
        stop.set()

        with pytest.raises(InterruptedChunkError):
            process_chunk(pages_of("10"), make_run(stop=stop), boxes)

        assert detector.batch_sizes == []


class TestProgress:
    def test_it_counts_the_pages_that_were_read(self, make_run: MakeRun, words: WordStage) -> None:
        progress: list[int] = []

        process_chunk(pages_of("10-20-30", "40-50-60", "70"), make_run(on_progress=progress.append), words)

        assert progress == [2, 3]

    def test_every_page_and_batch_is_a_sign_of_life(self, make_run: MakeRun, boxes: DetectionStage) -> None:
        alive: list[None] = []

        process_chunk(pages_of(*"12345"), make_run(on_alive=lambda: alive.append(None)), boxes)

        pages, detection_batches = 5, 3
        # Each page as it is decoded, as it is brought to its boxes, and as it is handed on.
        assert len(alive) == 3 * pages + detection_batches


class TestNothingToRead:
    def test_what_fits_is_what_fits_the_detection_model(
        self, make_run: MakeRun, boxes: DetectionStage, detector: FakeDetector
    ) -> None:
        detector.fitting_batch_size = 1

        lines, timings = process_chunk(pages_of("10"), make_run(reader=NothingToRead(detector)), boxes)

        assert timings.fitting_batch_size == 1
        assert boxes_on(lines[0]) == 1

    def test_no_crop_comes_to_it(self, detector: FakeDetector) -> None:
        nothing = NothingToRead(detector)
        pixels = np.zeros((1, 3, 4, 4), np.uint8)

        for call in (lambda: nothing.prepare(pixels[0]), lambda: nothing.read(pixels)):
            with pytest.raises(NotImplementedError):
                call()
