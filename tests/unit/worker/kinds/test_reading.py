"""Cascades and comparisons: which model reads which crop, in full batches, and what a line says about it."""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from threading import Event
from typing import Any

import numpy as np
import pytest

from contract.errors import ItemError
from contract.kinds.compare import CompareParameters
from contract.kinds.recognition import RecognitionParameters
from contract.lines import CompareLine, ErrorLine, ModelReading, RecognitionLine
from contract.records import Item
from tests.unit.worker.conftest import FakePool, FakeReader, read_all
from worker.images.decode import DecodedImage
from worker.kernels.pieces import Pieces
from worker.kernels.pixels import Pixels
from worker.kinds import make_pipeline
from worker.kinds.reading import Readers, Stage
from worker.models.ctc import Prediction
from worker.models.pool import Models
from worker.pipeline.run import ChunkRun, Pipeline


class SureReader(FakeReader):
    """Reads as the fake reader does, in other words, and is always sure."""

    identity = {"architecture": "fake", "name": "sure"}  # noqa: RUF012 - never changed

    def read(self, batch: Pixels) -> list[Prediction]:
        return [(f"sure {value}", 0.99) for value, _ in super().read(batch)]


class TwoModels(FakePool):
    """`quick` and `sure`; `asked` lists the names wanted."""

    def __init__(self) -> None:
        super().__init__(FakeReader())
        self.sure = SureReader()

    def get(self, name: str) -> FakeReader:
        self.asked.append(name)
        return self.sure if name == "sure" else self.reader


@pytest.fixture
def two() -> TwoModels:
    return TwoModels()


@pytest.fixture
def models(two: TwoModels) -> Models:
    return Models(two, detectors=two, orientations=two)  # type: ignore[arg-type]


@dataclass
class Crops:
    """Crops whose ids are their levels of grey, 0 to 255; `quick` has a confidence of level / 255."""

    pool: Executor
    decoded: list[str] = field(default_factory=list)

    def run(self) -> ChunkRun:
        return ChunkRun(
            fetch=lambda _: b"", decode=self._decode, attempt=1, pool=self.pool, window=8, stop=Event()
        )

    def _decode(self, item: Item, _: Any) -> DecodedImage:
        self.decoded.append(item.id)
        return DecodedImage(np.full((4, 8, 3), int(item.id), np.uint8))


@pytest.fixture
def grey(pool: Executor) -> Crops:
    return Crops(pool)


def crops(*ids: int) -> list[Item]:
    return [Item(id=str(one), uri=f"/crops/{one}") for one in ids]


@pytest.fixture
def cascade(models: Models) -> Pipeline:
    """Two models; `sure` reads what `quick` reads with a confidence below a half."""
    parameters = RecognitionParameters(recognition_model="quick>sure@0.5", recognition_batch_size=4)
    return make_pipeline("recognition", parameters, models)


class TestCascade:
    def test_only_what_the_first_model_is_unsure_of_is_read_again(
        self, cascade: Pipeline, grey: Crops
    ) -> None:
        lines, _ = read_all(crops(10, 200, 20, 250), grey.run(), cascade)

        assert lines == [
            RecognitionLine("10", "10", "sure 10", 0.99, model="sure"),
            RecognitionLine("200", "200", "200", 200 / 255, model="quick"),
            RecognitionLine("20", "20", "sure 20", 0.99, model="sure"),
            RecognitionLine("250", "250", "250", 250 / 255, model="quick"),
        ]

    def test_the_second_model_reads_full_batches(
        self, cascade: Pipeline, grey: Crops, two: TwoModels
    ) -> None:
        unsure_and_sure = [level for pair in zip(range(10), range(200, 210), strict=True) for level in pair]

        read_all(crops(*unsure_and_sure), grey.run(), cascade)

        assert two.reader.batch_sizes == [4] * 5
        assert two.sure.batch_sizes == [4, 4, 2]

    def test_the_statistics_tell_what_was_passed_on_and_the_models_apart(
        self, cascade: Pipeline, grey: Crops
    ) -> None:
        _, timings = read_all(crops(10, 200, 20, 250), grey.run(), cascade)

        assert timings.counts == {"crops": 4, "passed_on": 2}
        assert {"forward quick", "forward sure"} <= set(timings.seconds)

    def test_a_crop_that_either_model_fails_on_is_an_error(
        self, cascade: Pipeline, grey: Crops, two: TwoModels
    ) -> None:
        two.reader.broken, two.sure.broken = {200}, {20}

        lines, _ = read_all(crops(10, 200, 20, 250), grey.run(), cascade)

        assert [isinstance(line, ErrorLine) for line in lines] == [False, True, True, False]


@pytest.mark.parametrize(("whole", "passed_on"), [(False, 2), (True, 0)])
def test_nothing_more_is_read_of_a_page_with_a_word_that_fails(
    whole: bool, passed_on: int, two: TwoModels, grey: Crops
) -> None:
    # given three words that the first model is unsure of, or fails on
    two.reader.broken = {20}
    levels = np.full((3, 3, 1, 1), [[[[10]]], [[[20]]], [[[30]]]], np.uint8)
    readers = Readers((Stage(two.reader, "quick"), Stage(two.sure, "sure", 0.5)))
    run = grey.run()

    ((_, readings),) = readers.read([("page", Pieces(levels, [1, 1, 1]))], run, 4, whole=whole)

    assert isinstance(readings[1], ItemError)
    assert sum(two.sure.batch_sizes) == passed_on
    assert run.timings.counts == {"crops": passed_on, "passed_on": passed_on}


class TestCompare:
    @pytest.fixture
    def compared(self, models: Models) -> Pipeline:
        parameters = CompareParameters(models=("quick", "quick>sure@0.5", "sure"), recognition_batch_size=4)
        return make_pipeline("compare", parameters, models)

    def test_a_line_has_each_models_reading_and_the_cascades(self, compared: Pipeline, grey: Crops) -> None:
        lines, _ = read_all(crops(10, 200), grey.run(), compared)

        assert lines == [
            CompareLine(
                "10",
                "10",
                (
                    ModelReading("quick", "10", 10 / 255),
                    ModelReading("quick>sure@0.5", "sure 10", 0.99, "sure"),
                    ModelReading("sure", "sure 10", 0.99),
                ),
            ),
            CompareLine(
                "200",
                "200",
                (
                    ModelReading("quick", "200", 200 / 255),
                    ModelReading("quick>sure@0.5", "200", 200 / 255, "quick"),
                    ModelReading("sure", "sure 200", 0.99),
                ),
            ),
        ]

    def test_each_crop_is_decoded_once_and_read_once_by_each_model_in_full_batches(
        self, compared: Pipeline, grey: Crops, two: TwoModels
    ) -> None:
        read_all(crops(*range(10)), grey.run(), compared)

        assert sorted(grey.decoded, key=int) == [str(one) for one in range(10)]
        assert two.reader.batch_sizes == two.sure.batch_sizes == [4, 4, 2]

    def test_errors_stand_in_their_items_places(
        self, compared: Pipeline, grey: Crops, two: TwoModels
    ) -> None:
        two.sure.broken = {9}

        lines, _ = read_all(crops(7, 9, 8), grey.run(), compared)

        assert [line.id for line in lines] == ["7", "9", "8"]
        assert [isinstance(line, ErrorLine) for line in lines] == [False, True, False]

    def test_no_items_no_lines(self, compared: Pipeline, grey: Crops) -> None:
        assert read_all([], grey.run(), compared)[0] == []

    @pytest.mark.parametrize("models", [(), ("parseq",), ("parseq", "parseq"), ("parseq", "master@0.5")])
    def test_fewer_than_two_models_are_refused(self, models: Sequence[str]) -> None:
        with pytest.raises(ValueError, match="models"):
            CompareParameters(models=models)

    @pytest.mark.parametrize(
        "given", ["parseq, master", '["parseq","master"]', ["parseq,master"], ["parseq", "master"]]
    )
    def test_models_are_separated_by_commas_or_a_list(self, given: Any) -> None:
        assert CompareParameters(models=given).models == ("parseq", "master")
