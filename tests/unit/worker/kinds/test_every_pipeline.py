"""Every kind's pipeline: one line per item, in order, also for failed items."""

import threading
from concurrent.futures import Executor

import numpy as np
import pytest

from contract.errors import ErrorCode, ItemError
from contract.kinds import KINDS
from contract.lines import ErrorLine
from contract.records import Item
from tests.unit.worker.conftest import FakeDetector, FakePool, FakeReader, read_all
from worker.images.decode import DecodedImage
from worker.kernels.pixels import Pixels
from worker.kinds import PIPELINES, make_pipeline
from worker.models.pool import Models
from worker.pipeline.run import ChunkRun, Pipeline

SIDE = FakeDetector.input_shape[1]

RED_ALONE_FAILS = 20
"""How red the word is that the models fail on."""


def image_of(red: int) -> Pixels:
    """Return an image that is a crop of its own, and a page with one word in its middle."""
    image = np.full((SIDE, SIDE, 3), 255, np.uint8)
    image[96:160, 64:192] = red, 0, 255
    return image


@pytest.fixture(params=PIPELINES)
def pipeline(request: pytest.FixtureRequest, reader: FakeReader, detector: FakeDetector) -> Pipeline:
    models = Models(FakePool(reader), FakePool(detector), FakePool(None))  # type: ignore[arg-type]
    reader.broken = detector.broken = {RED_ALONE_FAILS}
    return make_pipeline(request.param, KINDS[request.param].parameters(), models)


@pytest.fixture
def run(pool: Executor) -> ChunkRun:
    def decode(item: Item, _: object) -> DecodedImage:
        if item.id == "damaged":
            raise ItemError(ErrorCode.TRUNCATED, "the file ends early")
        return DecodedImage(image_of(int(item.id)))

    return ChunkRun(
        fetch=lambda _: b"", decode=decode, attempt=3, pool=pool, window=8, stop=threading.Event()
    )


def test_every_kind_has_a_pipeline() -> None:
    assert set(PIPELINES) == set(KINDS)


def test_it_is_of_the_unit_that_its_kind_names(pipeline: Pipeline, request: pytest.FixtureRequest) -> None:
    kind = KINDS[request.node.callspec.params["pipeline"]]

    assert pipeline.decoding.pages == (kind.unit == "page")


def test_good_damaged_and_failing_items_have_a_line_each_in_order(pipeline: Pipeline, run: ChunkRun) -> None:
    names = ["10", "damaged", str(RED_ALONE_FAILS), "30"]

    lines, _ = read_all([Item(name, f"/scans/{name}.png") for name in names], run, pipeline)

    assert [line.id for line in lines] == names
    failed = [line for line in lines if isinstance(line, ErrorLine)]
    assert [(line.uri, line.attempts) for line in failed] == [
        ("/scans/damaged.png", 3),
        (f"/scans/{RED_ALONE_FAILS}.png", 3),
    ]
    assert failed[0].error.message == "the file ends early"
    assert failed[1].error.code in (ErrorCode.RECOGNITION_FAILED, ErrorCode.DETECTION_FAILED)


def test_a_result_is_a_line_of_its_kind(
    pipeline: Pipeline, run: ChunkRun, request: pytest.FixtureRequest
) -> None:
    kind = KINDS[request.node.callspec.params["pipeline"]]

    (line,), _ = read_all([Item("10", "/scans/10.png")], run, pipeline)

    assert type(line) is kind.line
    assert kind.excerpt(line).value
