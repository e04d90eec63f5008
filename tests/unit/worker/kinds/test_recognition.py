"""Crops through their pipeline: items in, one line each out, in order; the model is a fake."""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from contract.errors import ErrorCode, InterruptedChunkError, ItemError, StorageUnavailableError
from contract.lines import ErrorLine, RecognitionLine
from contract.records import Item
from tests.unit.worker.conftest import FakeReader, read_all
from worker.images.decode import DecodedImage
from worker.kinds.reading import Readers
from worker.kinds.recognition import RecognitionPipeline
from worker.pipeline.run import ChunkRun

MakeRun = Callable[..., ChunkRun]

GREY = (4, 8, 3)
"""Shape of a crop that fits one piece."""


def items_of(*names: str) -> list[Item]:
    return [Item(id=name, uri=f"/crops/{name}") for name in names]


@pytest.fixture
def make_run(pool: Executor) -> MakeRun:
    """A run over fakes: an item's name is its level; `bad...` is not found, `wide...` has three pieces."""

    def fetch(item: Item) -> bytes:
        if item.id.startswith("bad"):
            raise ItemError(ErrorCode.NOT_FOUND, f"there is no {item.id}")
        return item.id.encode()

    def decode(_: Item, data: bytes) -> DecodedImage:
        text = data.decode()
        shape = (4, 96, 3) if text.startswith("wide") else GREY
        return DecodedImage(np.full(shape, int(text.removeprefix("wide")), np.uint8))

    def make(**changes: Any) -> ChunkRun:
        defaults: dict[str, Any] = {
            "fetch": fetch,
            "decode": decode,
            "attempt": 1,
            "pool": pool,
            "window": 8,
            "stop": threading.Event(),
        }
        return ChunkRun(**{**defaults, **changes})

    return make


@pytest.fixture
def crops(reader: FakeReader) -> RecognitionPipeline:
    """The pipeline of `recognition`, four pieces to a batch."""
    return RecognitionPipeline(Readers.of(reader), 4)


def values_of(lines: list[Any]) -> list[str]:
    return [line.value if isinstance(line, RecognitionLine) else line.error.code.value for line in lines]


class TestLines:
    def test_one_line_per_item_in_order(self, make_run: MakeRun, crops: RecognitionPipeline) -> None:
        names = [str(level) for level in range(200, 100, -1)]

        lines, _ = read_all(items_of(*names), make_run(), crops)

        assert [line.id for line in lines] == names
        assert values_of(lines) == names

    def test_order_does_not_depend_on_which_item_is_ready_first(
        self, make_run: MakeRun, crops: RecognitionPipeline
    ) -> None:
        # given a first item that is fetched only after the second one was
        second_done = threading.Event()

        def fetch(item: Item) -> bytes:
            if item.id == "1":
                assert second_done.wait(30)
            else:
                second_done.set()
            return item.id.encode()

        lines, _ = read_all(items_of("1", "2"), make_run(fetch=fetch), crops)

        assert values_of(lines) == ["1", "2"]

    def test_an_error_stands_in_its_items_place(self, make_run: MakeRun, crops: RecognitionPipeline) -> None:
        lines, _ = read_all(items_of("1", "bad", "3"), make_run(attempt=2), crops)

        assert values_of(lines) == ["1", "not_found", "3"]
        error = lines[1]
        assert isinstance(error, ErrorLine)
        assert (error.id, error.uri, error.attempts) == ("bad", "/crops/bad", 2)
        assert error.error.message == "there is no bad"

    def test_a_line_bears_name_label_and_note(self, make_run: MakeRun, crops: RecognitionPipeline) -> None:
        # given a labelled item whose file holds several frames
        item = Item(id="scans/7", uri="s3://bucket/scans/9", label="seven")
        image = DecodedImage(np.full(GREY, 9, np.uint8), "first of 3 frames")
        run = make_run(fetch=lambda _: b"", decode=lambda *_: image)

        (line,), _ = read_all([item], run, crops)

        assert line == RecognitionLine("scans/7", "9", "9", 9 / 255, "seven", "first of 3 frames")

    def test_no_items_no_lines(self, make_run: MakeRun, crops: RecognitionPipeline) -> None:
        assert read_all([], make_run(), crops)[0] == []

    def test_only_bad_items_never_reach_the_model(
        self, make_run: MakeRun, crops: RecognitionPipeline, reader: Any
    ) -> None:
        lines, timings = read_all(items_of("bad1", "bad2"), make_run(), crops)

        assert values_of(lines) == ["not_found", "not_found"]
        assert (reader.batch_sizes, timings.batches) == ([], 0)


class TestBatches:
    def test_batches_are_full_across_bad_and_wide_items(
        self, make_run: MakeRun, crops: RecognitionPipeline, reader: Any
    ) -> None:
        # given nine pieces: six narrow items, one of three pieces; and items that yield none
        names = ["1", "bad1", "2", "wide50", "3", "bad2", "4", "5", "6"]

        lines, timings = read_all(items_of(*names), make_run(), crops)

        assert reader.batch_sizes == [4, 4, 1]
        assert (timings.batches, timings.pieces) == (3, 9)
        assert values_of(lines)[3] == "50+50+50"  # the wide item's pieces, some from either batch

    def test_stages_are_timed(self, make_run: MakeRun, crops: RecognitionPipeline) -> None:
        _, timings = read_all(items_of("1"), make_run(), crops)

        assert set(timings.seconds) == {"fetch", "decode", "preprocess", "forward", "postprocess"}


class TestTheModelFails:
    def test_a_failing_batch_is_read_piece_by_piece(
        self, make_run: MakeRun, crops: RecognitionPipeline, reader: Any
    ) -> None:
        # given a crop that the model cannot stand
        reader.broken = {2}

        lines, _ = read_all(items_of("1", "2", "3", "4", "5"), make_run(), crops)

        assert values_of(lines) == ["1", "recognition_failed", "3", "4", "5"]
        assert reader.batch_sizes == [4, 1, 1, 1, 1, 1]
        error = lines[1]
        assert isinstance(error, ErrorLine)
        assert "on this crop alone" in error.error.message

    def test_a_wide_crop_with_one_failing_piece_fails_whole(
        self, make_run: MakeRun, crops: RecognitionPipeline, reader: Any
    ) -> None:
        reader.broken = {50}

        lines, _ = read_all(items_of("1", "wide50", "3"), make_run(), crops)

        assert values_of(lines) == ["1", "recognition_failed", "3"]

    def test_what_is_no_item_error_ends_the_chunk(
        self, make_run: MakeRun, crops: RecognitionPipeline
    ) -> None:
        def fetch(item: Item) -> bytes:
            raise StorageUnavailableError("S3 cannot be reached")

        with pytest.raises(StorageUnavailableError):
            read_all(items_of("1", "2"), make_run(fetch=fetch), crops)


class TestInterruption:
    def test_nothing_more_is_read_once_the_worker_stops(
        self, make_run: MakeRun, crops: RecognitionPipeline, reader: Any
    ) -> None:
        # given a stop that comes while the first batch is read
        stop = threading.Event()
        run = make_run(stop=stop, on_progress=lambda items: stop.set())

        with pytest.raises(InterruptedChunkError):
            read_all(items_of(*map(str, range(40))), run, crops)

        assert reader.batch_sizes == [4]

    def test_a_chunk_that_comes_after_the_stop_is_not_begun(
        self, make_run: MakeRun, crops: RecognitionPipeline, reader: Any
    ) -> None:
        stop = threading.Event()
        stop.set()

        with pytest.raises(InterruptedChunkError):
            read_all(items_of("1"), make_run(stop=stop), crops)

        assert reader.batch_sizes == []

    def test_the_pool_is_left_clean(
        self, make_run: MakeRun, crops: RecognitionPipeline, pool: Executor
    ) -> None:
        # given a stop on the first batch, with the window full of prepared items
        stop = threading.Event()
        run = make_run(stop=stop, on_progress=lambda items: stop.set())

        with pytest.raises(InterruptedChunkError):
            read_all(items_of(*map(str, range(40))), run, crops)

        assert pool.submit(lambda: "free").result(30) == "free"


class TestBounds:
    @pytest.mark.parametrize("window", [1, 4, 10])
    def test_the_window_bounds_the_items_prepared_ahead(
        self, make_run: MakeRun, crops: RecognitionPipeline, reader: Any, window: int
    ) -> None:
        # given a look, at each batch, at how many items were fetched beyond those read
        fetched: list[str] = []
        ahead: list[int] = []

        def fetch(item: Item) -> bytes:
            fetched.append(item.id)
            return item.id.encode()

        run = make_run(
            fetch=fetch, window=window, on_progress=lambda items: ahead.append(len(fetched) - items)
        )

        lines, _ = read_all(items_of(*map(str, range(60))), run, crops)

        assert len(lines) == len(ahead) * 4 == 60
        assert max(ahead) <= window

    def test_progress_counts_items_whose_pieces_are_read(
        self, make_run: MakeRun, crops: RecognitionPipeline
    ) -> None:
        # given seven pieces of five items, in batches of four
        progress: list[int] = []

        read_all(items_of("1", "2", "3", "wide50", "4"), make_run(on_progress=progress.append), crops)

        assert progress[-1] == 5
        assert progress == sorted(progress)

    def test_a_group_holds_no_more_bytes_of_files_than_a_few_before_it_decodes_them(
        self, make_run: MakeRun, crops: RecognitionPipeline, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # given a bound of two files, and one task that prepares all items
        monkeypatch.setattr("worker.kinds.crops.FETCHED_BYTES", 200)
        held: list[int] = [0]

        def fetch(item: Item) -> bytes:
            held.append(held[-1] + 1)
            return item.id.encode().ljust(100)

        def decode(item: Item, _: bytes) -> DecodedImage:
            held.append(held[-1] - 1)
            return DecodedImage(np.full(GREY, int(item.id), np.uint8))

        with ThreadPoolExecutor(1) as pool:
            run = make_run(fetch=fetch, decode=decode, pool=pool, window=256)
            lines, _ = read_all(items_of(*map(str, range(9))), run, crops)

        assert len(lines) == 9
        assert max(held) == 2


class TestSignsOfLife:
    def test_every_item_of_a_group_is_one_before_any_of_it_is_handed_on(
        self, make_run: MakeRun, crops: RecognitionPipeline
    ) -> None:
        # given a look, at each decoding, at how often the chunk has shown that it moves
        alive: list[None] = []
        seen: list[int] = []

        def decode(item: Item, _: bytes) -> DecodedImage:
            seen.append(len(alive))
            return DecodedImage(np.full(GREY, int(item.id), np.uint8))

        with ThreadPoolExecutor(1) as pool:
            run = make_run(decode=decode, pool=pool, window=64, on_alive=lambda: alive.append(None))
            read_all(items_of("1", "2", "3", "4", "5"), run, crops)

        assert seen == [1, 2, 3, 4, 5]


class TestFetchingAhead:
    def test_files_are_fetched_side_by_side_although_one_thread_decodes(
        self, make_run: MakeRun, crops: RecognitionPipeline
    ) -> None:
        # given four fetches that end only once all four have begun
        begun = threading.Barrier(4)

        def fetch(item: Item) -> bytes:
            begun.wait(30)
            return item.id.encode()

        with ThreadPoolExecutor(1) as pool, ThreadPoolExecutor(4) as fetchers:
            run = make_run(fetch=fetch, pool=pool, fetchers=fetchers, fetch_window=5)
            lines, timings = read_all(items_of("1", "2", "3", "4"), run, crops)

        assert values_of(lines) == ["1", "2", "3", "4"]
        assert timings.seconds["fetch"] > 0

    def test_an_error_of_a_fetch_stands_in_its_items_place(
        self, make_run: MakeRun, crops: RecognitionPipeline, pool: Executor
    ) -> None:
        lines, _ = read_all(items_of("1", "bad", "3"), make_run(fetchers=pool, fetch_window=2), crops)

        assert values_of(lines) == ["1", "not_found", "3"]

    def test_storage_that_is_away_ends_the_chunk(
        self, make_run: MakeRun, crops: RecognitionPipeline, pool: Executor
    ) -> None:
        def fetch(item: Item) -> bytes:
            raise StorageUnavailableError("S3 cannot be reached")

        with pytest.raises(StorageUnavailableError):
            read_all(items_of("1", "2"), make_run(fetch=fetch, fetchers=pool, fetch_window=2), crops)

    def test_the_fetch_window_bounds_the_files_in_memory(
        self, make_run: MakeRun, crops: RecognitionPipeline
    ) -> None:
        # given a count of the files that are fetched and not yet decoded
        held, most = set[str](), 0
        lock = threading.Lock()

        def fetch(item: Item) -> bytes:
            nonlocal most
            with lock:
                held.add(item.id)
                most = max(most, len(held))
            return item.id.encode()

        def decode(item: Item, _: bytes) -> DecodedImage:
            with lock:
                held.discard(item.id)
            return DecodedImage(np.full(GREY, int(item.id), np.uint8))

        with ThreadPoolExecutor(4) as pool, ThreadPoolExecutor(8) as fetchers:
            run = make_run(fetch=fetch, decode=decode, pool=pool, fetchers=fetchers, fetch_window=6, window=4)
            lines, _ = read_all(items_of(*map(str, range(100))), run, crops)

        assert len(lines) == 100
        assert most <= 6 + 4  # under way, and in the groups that wait for a decoding thread
