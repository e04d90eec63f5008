"""Uploads are read in batches shared by all senders, and every sender gets an answer, even on errors."""

import contextlib
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import redis
from PIL import Image

from contract.broker.uploads import Answer, Ticket, Upload, Uploads
from contract.errors import InterruptedChunkError, ModelUnavailableError, UnfitWorkerError
from contract.records import Nudge
from contract.region import Region, region_of
from tests.unit.conftest import Clock
from tests.unit.worker.conftest import FakeDecoders, FakePool, FakeReader
from worker.app.making import make_feeders
from worker.jobs.chunk import WorkerContext
from worker.jobs.share import ChunkShare
from worker.jobs.uploads import read_uploads
from worker.kinds.recognition import RecognitionPipeline

ONE, OTHER = "1" * 32, "2" * 32
NUDGE = Nudge("recognition", 4)


def texts_of(answer: Answer) -> list[str]:
    return [msgspec.json.decode(line)["value"] for line in answer.lines]


def upload(
    data: bytes,
    sender: str = ONE,
    media_type: Any = "image/png",
    max_pages: int = 64,
    max_pixels: int | None = None,
    regions: tuple[Region, ...] | None = None,
) -> Upload:
    parameters = {"recognition_model": "parseq", "recognition_batch_size": 4}
    name = uuid.uuid4().hex
    ticket = Ticket(name, sender, "crop", media_type, 2_000.0, max_pages, parameters, max_pixels, regions)
    return Upload(ticket, data)


def answers_of(uploads: Uploads, sender: str = ONE) -> list[Answer]:
    return uploads.next_answers(sender, timeout=0.01)


def test_uploads_of_several_senders_share_a_batch(
    uploads: Uploads, context: WorkerContext, reader: FakeReader, png: Callable[..., bytes]
) -> None:
    uploads.send("recognition", [upload(png(10)), upload(png(20))])
    uploads.send("recognition", [upload(png(30), OTHER)])

    assert read_uploads(NUDGE, context) == {"ok": 3, "failed": 0}

    assert reader.batch_sizes == [3]
    assert [texts_of(answer)[0] for answer in answers_of(uploads)] == ["10", "20"]
    assert [texts_of(answer) for answer in answers_of(uploads, OTHER)] == [["30"]]


def test_a_nudge_also_reads_what_a_lost_nudge_left_behind(
    uploads: Uploads, context: WorkerContext, png: Callable[..., bytes]
) -> None:
    uploads.send("recognition", [upload(png(level)) for level in range(9)])

    assert read_uploads(NUDGE, context) == {"ok": 9, "failed": 0}


def test_a_nudge_for_nothing_loads_no_model(context: WorkerContext, recognisers: FakePool) -> None:
    assert read_uploads(NUDGE, context) == {"ok": 0, "failed": 0}
    assert recognisers.asked == []


def test_a_bad_file_costs_its_own_answer_alone(
    uploads: Uploads, context: WorkerContext, png: Callable[..., bytes]
) -> None:
    uploads.send("recognition", [upload(b"no image"), upload(png(20))])

    read_uploads(NUDGE, context)

    bad, good = answers_of(uploads)
    assert (bad.fault, bad.lines) == ("upload", ())
    assert "crop: not an image" in bad.error
    assert texts_of(good)[0] == "20"


def test_regions_are_cut_out_of_an_image_that_is_decoded_once(
    uploads: Uploads, context: WorkerContext, encode: Callable[..., bytes], isolated: FakeDecoders
) -> None:
    # given two images of one name, dark and bright above and below, with regions; and one that is read whole
    def image(above: int, below: int) -> bytes:
        page = Image.new("RGB", (40, 20), (above,) * 3)
        page.paste((below,) * 3, (0, 10, 40, 20))
        return encode(page, "PNG")

    above, below = region_of([0, 0, 40, 10], name="1"), region_of([0, 0.5, 1, 1], "rel", "total")
    outside, empty = region_of([50, 0, 60, 10], name="2"), region_of([5, 5, 5, 9], name="3")
    uploads.send(
        "recognition",
        [
            upload(image(10, 20), regions=(above, outside, below, empty)),
            upload(image(30, 40), regions=(below, above)),
            upload(image(50, 50)),
            upload(image(60, 60), regions=()),
        ],
    )

    read_uploads(NUDGE, context)

    first, second, whole, none = answers_of(uploads)
    lines = [msgspec.json.decode(line) for line in first.lines]
    assert [(line.get("value"), line.get("region")) for line in lines[::2]] == [("10", "1"), ("20", "total")]
    assert [line["error"]["code"] for line in lines[1::2]] == ["bad_region", "bad_region"]
    assert (texts_of(second), texts_of(whole), none.lines) == (["40", "30"], ["50"], ())
    assert isolated.decoded == 2


def test_an_image_with_regions_that_cannot_be_read_is_refused_as_a_whole(
    uploads: Uploads, context: WorkerContext
) -> None:
    uploads.send("recognition", [upload(b"no image", regions=(region_of([0, 0, 9, 9]),) * 2)])

    read_uploads(NUDGE, context)

    (answer,) = answers_of(uploads)
    assert (answer.fault, answer.lines) == ("upload", ())


@pytest.fixture
def two_pages(encode: Callable[..., bytes]) -> bytes:
    pages = [Image.new("RGB", (72, 36), (level, level, level)) for level in (40, 90)]
    return encode(pages[0], "PDF", save_all=True, append_images=pages[1:], resolution=72.0)


def test_a_pdf_is_read_page_by_page(uploads: Uploads, context: WorkerContext, two_pages: bytes) -> None:
    uploads.send("recognition", [upload(two_pages, media_type="application/pdf")])

    read_uploads(NUDGE, context)

    (answer,) = answers_of(uploads)
    first, second = (int(text) for text in texts_of(answer))
    # The PDF holds its pages as JPEG, which may move a level by one.
    assert abs(first - 40) <= 1
    assert abs(second - 90) <= 1


@pytest.mark.parametrize(
    ("data", "said"), [(b"%PDF-1.7 cut", "Data format error"), (b"", "Data format error")]
)
def test_a_damaged_pdf_is_refused(data: bytes, said: str, uploads: Uploads, context: WorkerContext) -> None:
    uploads.send("recognition", [upload(data, media_type="application/pdf")])

    read_uploads(NUDGE, context)

    (answer,) = answers_of(uploads)
    assert answer.fault == "upload"
    assert f"the PDF cannot be opened (Failed to load document (PDFium: {said})" in answer.error


def test_a_pdf_of_more_pages_than_allowed_is_refused(
    uploads: Uploads, context: WorkerContext, two_pages: bytes
) -> None:
    uploads.send("recognition", [upload(two_pages, media_type="application/pdf", max_pages=1)])

    read_uploads(NUDGE, context)

    (answer,) = answers_of(uploads)
    assert "2 pages" in answer.error


def test_without_weights_every_sender_hears_why(
    uploads: Uploads, context: WorkerContext, recognisers: FakePool, png: Callable[..., bytes]
) -> None:
    recognisers.error = ModelUnavailableError("no weights for parseq")
    uploads.send("recognition", [upload(png(1))])

    read_uploads(NUDGE, context)

    (answer,) = answers_of(uploads)
    assert (answer.fault, answer.error) == ("server", "no weights for parseq")


def test_a_bug_of_ours_leaves_nobody_waiting(
    uploads: Uploads, context: WorkerContext, recognisers: FakePool, png: Callable[..., bytes]
) -> None:
    recognisers.error = ZeroDivisionError()
    uploads.send("recognition", [upload(png(1))])

    read_uploads(NUDGE, context)

    (answer,) = answers_of(uploads)
    assert answer.fault == "server"


class TestAbandoned:
    """What nobody waits for is not read, or no further."""

    @pytest.fixture(autouse=True)
    def looks_at_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Given a worker that asks before each file whether its sender still waits."""
        monkeypatch.setattr("worker.jobs.senders.LOOK_SECONDS", 0.0)

    def test_the_pages_of_a_withdrawn_upload_are_not_decoded(
        self,
        uploads: Uploads,
        context: WorkerContext,
        isolated: FakeDecoders,
        two_pages: bytes,
        png: Callable[..., bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        withdrawn, waited_for = upload(two_pages, media_type="application/pdf"), upload(png(20))
        uploads.send("recognition", [withdrawn, waited_for])
        # when its sender leaves while the worker counts its pages
        count = isolated.page_count

        def counted(path: Path) -> int:
            uploads.withdraw("recognition", [withdrawn.ticket])
            return count(path)

        monkeypatch.setattr(isolated, "page_count", counted)
        read_uploads(NUDGE, context)

        answers = {answer.id: answer for answer in answers_of(uploads)}
        assert texts_of(answers[waited_for.ticket.id]) == ["20"]
        assert "no longer waits" in answers[withdrawn.ticket.id].error
        assert isolated.decoded == 0

    @pytest.mark.parametrize("why", ["withdrawn", "past its deadline"])
    def test_reading_ends_before_the_next_batch_if_nobody_waits(
        self,
        why: str,
        uploads: Uploads,
        context: WorkerContext,
        reader: FakeReader,
        png: Callable[..., bytes],
        clock: Clock,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        sent = [upload(png(level)) for level in range(4)]
        for one in sent:
            one.ticket.parameters["recognition_batch_size"] = 1
        uploads.send("recognition", sent)
        read = reader.read

        def leaves(batch: Any) -> Any:
            if why == "withdrawn":
                uploads.withdraw("recognition", [one.ticket for one in sent])
            else:
                clock.now = 2_000.0
            return read(batch)

        monkeypatch.setattr(reader, "read", leaves)

        outcome = read_uploads(NUDGE, context)

        assert outcome == {"ok": 0, "failed": 4}
        assert len(reader.batch_sizes) < 4

    def test_while_redis_is_away_reading_goes_on(
        self,
        uploads: Uploads,
        context: WorkerContext,
        png: Callable[..., bytes],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def away(_: object) -> set[str]:
            raise redis.ConnectionError("away")

        monkeypatch.setattr(uploads, "waited_for", away)
        uploads.send("recognition", [upload(png(10))])

        assert read_uploads(NUDGE, context) == {"ok": 1, "failed": 0}


class TestLarge:
    """Few large images wait in memory at once."""

    @pytest.fixture
    def context(self, context: WorkerContext) -> WorkerContext:
        """A worker that reads images of at most 400 pixels."""
        return replace(context, settings=context.settings.model_copy(update={"max_pixels": 400}))

    @pytest.fixture
    def portions(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """How many items each run of the pipeline had."""
        run, sizes = RecognitionPipeline.run, list[int]()

        def counted(self: RecognitionPipeline, items: Any, chunk_run: Any) -> Any:
            sizes.append(len(items))
            return run(self, items, chunk_run)

        monkeypatch.setattr(RecognitionPipeline, "run", counted)
        return sizes

    def test_images_are_read_in_portions_of_as_many_pixels_as_one_may_have(
        self, uploads: Uploads, context: WorkerContext, png: Callable[..., bytes], portions: list[int]
    ) -> None:
        small, large = png(10), png(20, (20, 15))
        uploads.send("recognition", [upload(data) for data in (small, small, large, large)])

        assert read_uploads(NUDGE, context) == {"ok": 4, "failed": 0}

        assert portions == [3, 1]
        assert [texts_of(answer) for answer in answers_of(uploads)] == [["10"], ["10"], ["20"], ["20"]]

    def test_so_are_the_pages_of_a_pdf(
        self, uploads: Uploads, context: WorkerContext, pdf: Callable[..., bytes], portions: list[int]
    ) -> None:
        page = (9.0, 9.0)  # 18 by 18 pixels
        uploads.send("recognition", [upload(pdf(page, page, page), media_type="application/pdf")])

        read_uploads(NUDGE, context)

        assert portions == [1, 1, 1]

    def test_a_pdf_of_more_pixels_than_its_request_may_have_is_refused(
        self, uploads: Uploads, context: WorkerContext, pdf: Callable[..., bytes], isolated: FakeDecoders
    ) -> None:
        sent = upload(pdf((9.0, 9.0), (9.0, 9.0)), media_type="application/pdf", max_pixels=500)
        uploads.send("recognition", [sent])

        read_uploads(NUDGE, context)

        (answer,) = answers_of(uploads)
        assert "648 pixels, the limit is 500" in answer.error
        assert isolated.decoded == 0

    def test_a_large_image_waits_for_the_one_before_it_but_not_once_its_sender_is_gone(
        self,
        uploads: Uploads,
        context: WorkerContext,
        png: Callable[..., bytes],
        portions: list[int],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        for name in ("worker.jobs.senders.LOOK_SECONDS", "worker.jobs.uploads.LOOK_SECONDS"):
            monkeypatch.setattr(name, 0.01)
        monkeypatch.setattr("worker.jobs.upload_pages.LARGE_PIXELS", 299)
        sent = upload(png(20, (20, 15)))
        uploads.send("recognition", [sent])

        with context.large_images, ThreadPoolExecutor(1) as place:
            reading = place.submit(read_uploads, NUDGE, context)
            while uploads.waiting():
                time.sleep(0.001)
            uploads.withdraw("recognition", [sent.ticket])
            assert reading.result(timeout=20) == {"ok": 0, "failed": 1}

        assert portions == []


def test_images_of_strangers_are_decoded_in_feeders(
    uploads: Uploads, context: WorkerContext, png: Callable[..., bytes]
) -> None:
    # given a worker that decodes the crops of jobs in threads
    settings = context.settings.model_copy(update={"feeders": 0})
    uploads.send("recognition", [upload(data) for data in (png(10), b"no image", png(20))])

    with contextlib.closing(make_feeders(settings, context.metrics.s3)) as feeders:
        read = read_uploads(NUDGE, replace(context, settings=settings, feeders=feeders))

        assert len(feeders.pids) == 1
    assert read == {"ok": 2, "failed": 1}
    first, second, third = answers_of(uploads)
    assert (texts_of(first), texts_of(third)) == (["10"], ["20"])
    assert "not an image" in second.error


def test_parameters_of_another_kind_cost_their_own_upload_alone(
    uploads: Uploads, context: WorkerContext, png: Callable[..., bytes]
) -> None:
    forged, sound = upload(png(10)), upload(png(20))
    forged.ticket.parameters["recognition_model"] = "../../x"
    uploads.send("recognition", [forged, sound])

    read_uploads(NUDGE, context)

    answers = {answer.id: answer for answer in answers_of(uploads)}
    assert answers[forged.ticket.id].fault == "server"
    assert texts_of(answers[sound.ticket.id]) == ["20"]


@pytest.mark.parametrize("waits", [True, False])
def test_a_nudge_ends_after_its_batch_if_a_chunk_waits_for_its_turn(
    waits: bool, uploads: Uploads, context: WorkerContext, png: Callable[..., bytes], clock: Clock
) -> None:
    share = ChunkShare(0.25, lambda: waits, clock)
    with share.taken("uploads"):
        clock.now += 1
    uploads.send("recognition", [upload(png(level)) for level in range(6)])

    read = read_uploads(NUDGE, replace(context, share=share))

    assert read == {"ok": 4 if waits else 6, "failed": 0}
    assert uploads.waiting() == (2 if waits else 0)


@pytest.mark.parametrize("stopped", ["by its launcher", "by its device"])
def test_a_worker_that_stops_puts_its_uploads_back(
    stopped: str, uploads: Uploads, context: WorkerContext, recognisers: FakePool, png: Callable[..., bytes]
) -> None:
    sent = upload(png(1))
    uploads.send("recognition", [sent])
    if stopped == "by its device":
        recognisers.error = UnfitWorkerError("no memory")
    else:
        context.stop.set()

    with pytest.raises((InterruptedChunkError, UnfitWorkerError)):
        read_uploads(NUDGE, context)

    assert uploads.take("recognition", 1) == [sent]
