"""Uploads are read in batches shared by all senders, and every sender gets an answer, even on errors."""

import uuid
from collections.abc import Callable

import msgspec
import pytest
from PIL import Image

from contract.broker.uploads import Answer, Ticket, Upload, Uploads
from contract.errors import InterruptedChunkError, ModelUnavailableError, UnfitWorkerError
from contract.records import Nudge
from tests.unit.worker.conftest import FakePool, FakeReader
from worker.jobs.chunk import WorkerContext
from worker.jobs.uploads import read_uploads

ONE, OTHER = "1" * 32, "2" * 32
NUDGE = Nudge("recognition", 4)


def texts_of(answer: Answer) -> list[str]:
    return [msgspec.json.decode(line)["value"] for line in answer.lines]


def upload(data: bytes, sender: str = ONE, media_type: str = "image/png", max_pages: int = 64) -> Upload:
    parameters = {"recognition_model": "parseq", "recognition_batch_size": 4}
    ticket = Ticket(uuid.uuid4().hex, sender, "crop", media_type, 2_000.0, max_pages, parameters)  # type: ignore[arg-type]
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
