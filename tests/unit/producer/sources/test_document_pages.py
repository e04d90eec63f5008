"""Documents to pages: in the source's order, counted ahead within bounds, even if documents crash or hang.

The processes that count are real ones; a poisoned pdfium in them crashes, hangs or floods over files that
hold a marker.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from contract.documents import MAX_PAGES, is_document
from contract.errors import (
    ArchivedError,
    SourceError,
    StorageError,
    StorageRefusedError,
    StorageUnavailableError,
)
from contract.lines import encode_line
from contract.records import MAX_TEXT, Item, decode_item
from contract.region import region_of
from contract.storage import Storage
from contract.storage.local import LocalStore
from contract.storage.roots import AllowedRoots
from producer.sources.base import Listing
from producer.sources.document_pages import COUNTED_AHEAD, ByteBudget, PageCounter, pages_of
from tests.unit.documents import encrypted_pdf, pdf, tiff
from tests.unit.flavours import encoded

SIZE = (30, 20)
MAX_BYTES = 100_000

CRASH, HANG, FLOOD = b"poison:crash", b"poison:hang", b"poison:flood"

POISONED = """
import os, threading
from pathlib import Path
import pypdfium2

real = pypdfium2.raw.FPDF_LoadDocument

def open_poisoned(file, password):
    data = Path(os.fsdecode(file)).read_bytes() if file else b""
    if b"poison:crash" in data:
        os._exit(1)
    if b"poison:hang" in data:
        threading.Event().wait()
    if b"poison:flood" in data:
        bytearray(3 << 30)
    return real(file, password)

pypdfium2.raw.FPDF_LoadDocument = open_poisoned
"""

Put = Callable[[str, bytes], Item]
Plan = Callable[..., list[tuple[str, int | None]]]


@pytest.fixture
def scans(tmp_path: Path) -> Path:
    folder = tmp_path / "scans"
    folder.mkdir()
    return folder


@pytest.fixture
def put(scans: Path) -> Put:
    """Write a file; return its item."""

    def write(name: str, data: bytes) -> Item:
        (scans / name).write_bytes(data)
        return Item(name, str(scans / name))

    return write


@pytest.fixture
def poisoned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Given processes whose pdfium has bugs."""
    (tmp_path / "sitecustomize.py").write_text(POISONED)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))


@pytest.fixture
def make_counter(storage: Storage) -> Callable[[], PageCounter]:
    return lambda: PageCounter(storage, None, MAX_BYTES)


@pytest.fixture
def plan(make_counter: Callable[[], PageCounter]) -> Plan:
    """Return the id and the page of each item that the given items expand to."""
    return lambda *items: [(item.id, item.page) for item in pages_of(listing(items), make_counter)]


@pytest.fixture
def counter(make_counter: Callable[[], PageCounter]) -> Iterator[PageCounter]:
    counter = make_counter()
    yield counter
    counter.close()


def listing(items: Any) -> Listing:
    return Listing(iter(items), Counter())


@dataclass
class FakeCounter:
    """Counts two pages for each document, or calls `behave`; records whether it was closed."""

    behave: Callable[[str], int | None] = lambda uri: 2 if is_document(uri) else 0
    closed: bool = False
    counted: list[str] = field(default_factory=list)

    def count(self, item: Item) -> int | None:
        pages = self.behave(item.uri)
        self.counted.append(item.uri)
        return pages

    def close(self) -> None:
        self.closed = True


def pages_by(counter: FakeCounter, items: Any) -> Iterator[Item]:
    return iter(pages_of(listing(items), lambda: counter))  # type: ignore[arg-type, return-value]


class TestItems:
    def test_an_image_is_one_item_and_a_document_one_for_each_page_in_the_sources_order(
        self, put: Put, plan: Plan
    ) -> None:
        items = [
            put("b.png", b"not looked at"),
            put("c.pdf", pdf(SIZE, SIZE, SIZE)),
            put("a.TIFF", tiff(SIZE, SIZE)),
            put("d.jpg", b""),
            put("one.pdf", pdf(SIZE)),
            put("one.tif", tiff(SIZE)),
        ]

        assert plan(*items) == [
            ("b.png", None),
            ("c.pdf#page=1", 1),
            ("c.pdf#page=2", 2),
            ("c.pdf#page=3", 3),
            ("a.TIFF#page=1", 1),
            ("a.TIFF#page=2", 2),
            ("d.jpg", None),
            ("one.pdf#page=1", 1),
            ("one.tif#page=1", 1),
        ]

    def test_a_page_keeps_its_documents_place_and_label(self) -> None:
        item = Item("my id", "/scans/a.pdf", label="truth")

        first, second = pages_by(FakeCounter(), [item])

        assert (first.id, first.uri, first.label) == ("my id#page=1", "/scans/a.pdf", "truth")
        assert (second.id, second.uri, second.label) == ("my id#page=2", "/scans/a.pdf", "truth")

    def test_a_document_is_recognised_by_its_content_and_not_by_its_name_or_id(
        self, put: Put, plan: Plan
    ) -> None:
        image = encoded(Image.new("RGB", SIZE), "JPEG")
        items = [
            put("a.tif", image),
            put("b.pdf", image),
            put("c.png", pdf(SIZE, SIZE)),
            put("d.jpg", tiff(SIZE, SIZE)),
        ]

        assert plan(*items) == [
            ("a.tif", None),
            ("b.pdf", None),
            ("c.png#page=1", 1),
            ("c.png#page=2", 2),
            ("d.jpg#page=1", 1),
            ("d.jpg#page=2", 2),
        ]

    def test_a_pipe_is_not_waited_for(self, scans: Path, plan: Plan) -> None:
        os.mkfifo(scans / "a.png")

        assert plan(Item("a.png", str(scans / "a.png"))) == [("a.png", None)]

    def test_counts_of_passed_over_names_are_kept(self) -> None:
        source = Listing(iter([]), Counter(hidden=3))

        assert pages_of(source, PageCounter).passed_over == {"hidden": 3}  # type: ignore[arg-type]


class TestUncountable:
    """A document that cannot be counted is one item, so that it ends as the error line of its worker."""

    @pytest.mark.parametrize(
        ("name", "data"),
        [
            ("empty.pdf", b""),
            ("garbage.pdf", b"%PDF-1.7 garbage"),
            ("encrypted.pdf", encrypted_pdf()),
            ("no-pages.pdf", pdf()),
            ("garbage.tiff", b"garbage"),
            ("large.pdf", pdf(SIZE) + b"\n" * MAX_BYTES),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_a_broken_document_is_one_item(self, name: str, data: bytes, put: Put, plan: Plan) -> None:
        assert plan(put(name, data)) == [(name, None)]

    @pytest.mark.parametrize(
        "uri",
        ["/nowhere/a.pdf", "ftp://host/a.pdf", "/a\0b.pdf", f"/{'x' * 300}.pdf", "s3://no-bucket/a.pdf"],
    )
    @pytest.mark.usefixtures("s3_bucket")
    def test_one_that_is_not_there_is_one_item(self, uri: str, plan: Plan) -> None:
        assert plan(Item("a", uri)) == [("a", None)]

    def test_one_outside_the_allowed_roots_is_not_opened(
        self, put: Put, storage: Storage, tmp_path: Path
    ) -> None:
        item = put("a.pdf", pdf(SIZE, SIZE))
        counters = {
            allowed: PageCounter(storage, AllowedRoots((str(tmp_path / allowed),)), MAX_BYTES)
            for allowed in ("scans", "other")
        }

        counts = {allowed: counter.count(item) for allowed, counter in counters.items()}
        for counter in counters.values():
            counter.close()

        assert counts == {"scans": 2, "other": None}

    def test_a_folder_named_like_a_document_is_one_item(self, scans: Path, plan: Plan) -> None:
        (scans / "a.pdf").mkdir()

        assert plan(Item("a.pdf", str(scans / "a.pdf"))) == [("a.pdf", None)]

    def test_only_the_worker_reports_damage(
        self, put: Put, plan: Plan, capfd: pytest.CaptureFixture[str]
    ) -> None:
        # given a TIFF that ends within its second page's directory, of which Pillow warns
        cut = tiff(SIZE, SIZE)[: len(tiff(SIZE)) + 20]

        assert len(plan(put("cut.tiff", cut))) == 2
        assert capfd.readouterr().err == ""


class TestS3:
    def test_a_document_is_copied_to_be_counted_and_nothing_stays(
        self, s3_bucket: Any, plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
        items = [
            Item("a.PDF", s3_bucket.put("a.PDF", pdf(SIZE, SIZE))),
            Item("b.tif", s3_bucket.put("x.y/b.tif", tiff(SIZE))),
        ]

        assert plan(*items) == [("a.PDF#page=1", 1), ("a.PDF#page=2", 2), ("b.tif#page=1", 1)]
        assert list(tmp_path.glob("trace-ocr-*")) == []

    def test_unavailable_storage_ends_the_plan_which_is_retried(self) -> None:
        def away(uri: str) -> int:
            raise StorageUnavailableError("s3 is away")

        counter = FakeCounter(away)

        with pytest.raises(StorageUnavailableError):
            list(pages_by(counter, [Item("a.pdf", "s3://bucket/a.pdf")]))
        assert counter.closed

    def test_unavailable_storage_is_not_reported_as_a_broken_document(
        self, counter: PageCounter, storage: Storage, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def away(uri: str) -> Any:
            raise StorageUnavailableError("s3 is away")

        monkeypatch.setattr(storage, "at", away)

        with pytest.raises(StorageUnavailableError):
            counter.count(Item("a", "s3://bucket/a.pdf"))

    @pytest.mark.parametrize(
        "error",
        [
            ArchivedError("archived"),
            StorageRefusedError("KMS"),
            StorageUnavailableError("Input/output error"),
        ],
        ids=lambda error: type(error).__name__,
    )
    def test_a_document_that_storage_does_not_give_is_one_item(
        self, error: StorageError, counter: PageCounter, put: Put, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(self: LocalStore, uri: str) -> int:
            raise error

        monkeypatch.setattr(LocalStore, "size", refuse)

        assert counter.count(put("a.pdf", b"")) is None


class TestIds:
    @pytest.mark.parametrize("order", [1, -1])
    @pytest.mark.parametrize("claiming", ["cover.jpg", "appendix.pdf"])
    @pytest.mark.parametrize("document", ["a.pdf", "a_pdf_by_its_content.png"])
    def test_an_item_with_the_id_of_another_documents_page_is_refused(
        self, order: int, claiming: str, document: str
    ) -> None:
        items = [Item("invoice-17", f"/scans/{document}"), Item("invoice-17#page=3", f"/scans/{claiming}")]
        counter = FakeCounter(lambda uri: 0 if uri.endswith(".jpg") else 2)

        with pytest.raises(SourceError, match=r"'invoice-17#page=[13]' is that of a page"):
            list(pages_by(counter, items[::order]))

    def test_pages_that_are_images_may_be_named_like_pages(self) -> None:
        items = [Item(f"scan.pdf#page={page}", f"/scans/{page}.png") for page in (1, 2)]
        items += [Item("scan.pdf", "/scans/cover.png"), Item("other.pdf", "/scans/other.pdf")]

        planned = list(pages_by(FakeCounter(), items))

        assert [item.id for item in planned] == [
            *("scan.pdf#page=1", "scan.pdf#page=2", "scan.pdf"),
            *("other.pdf#page=1", "other.pdf#page=2"),
        ]

    def test_pages_of_a_document_with_the_longest_id_can_be_read(self) -> None:
        items = [Item("x" * MAX_TEXT, "/scans/a.pdf")]

        planned = list(pages_by(FakeCounter(lambda uri: MAX_PAGES), items))

        assert decode_item(encode_line(planned[-1])) == planned[-1]


@pytest.mark.usefixtures("poisoned")
class TestPoison:
    def test_a_document_that_crashes_its_process_costs_only_itself(self, put: Put, plan: Plan) -> None:
        good = [put(f"{n}.pdf", pdf(SIZE, SIZE)) for n in range(6)]
        bad = put("bad.pdf", pdf(SIZE) + CRASH)

        planned = plan(*good[:3], bad, *good[3:])

        pages = [(f"{n}.pdf#page={page}", page) for n in range(6) for page in (1, 2)]
        assert planned == [*pages[:6], ("bad.pdf", None), *pages[6:]]

    def test_documents_that_flood_the_memory_are_one_item_each(self, put: Put, plan: Plan) -> None:
        items = [put("flood.pdf", pdf(SIZE) + FLOOD), put("good.pdf", pdf(SIZE))]

        assert plan(*items) == [("flood.pdf", None), ("good.pdf#page=1", 1)]

    def test_documents_that_hang_are_one_item_each_also_those_that_wait_behind_others(
        self, put: Put, plan: Plan, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("producer.sources.document_pages.COUNT_SECONDS", 0.2)
        # given more than there are processes
        items = [put(f"{n:02}.pdf", pdf(SIZE) + HANG) for n in range(COUNTED_AHEAD)]

        assert plan(*items) == [(item.id, None) for item in items]

    def test_after_one_that_hangs_others_are_counted(self, put: Put, counter: PageCounter) -> None:
        with pytest.MonkeyPatch.context() as impatient:
            impatient.setattr("producer.sources.document_pages.COUNT_SECONDS", 0.2)
            assert counter.count(put("hangs.pdf", pdf(SIZE) + HANG)) is None

        assert counter.count(put("good.pdf", pdf(SIZE, SIZE))) == 2


class TestAhead:
    def test_nothing_is_read_before_the_first_item_is_asked_for(self) -> None:
        def source() -> Iterator[Item]:
            raise AssertionError("read")
            yield

        pages_by(FakeCounter(), source())

    def test_a_document_that_is_counted_first_waits_for_its_turn(self) -> None:
        second_is_counted = threading.Event()

        def behave(uri: str) -> int:
            if uri == "/b.pdf":
                second_is_counted.set()
            else:
                second_is_counted.wait()
            return 0 if uri == "/c.png" else 1

        items = [Item("a", "/a.pdf"), Item("b", "/b.pdf"), Item("c", "/c.png")]

        planned = [item.id for item in pages_by(FakeCounter(behave), items)]

        assert planned == ["a#page=1", "b#page=1", "c"]

    def test_images_are_looked_at_no_further_ahead_than_documents(self) -> None:
        taken: list[int] = []

        def source() -> Iterator[Item]:
            for n in range(1_000):
                taken.append(n)
                yield Item(str(n), f"/{n}.png")

        planned = list(islice(pages_by(FakeCounter(), source()), 5))

        assert len(planned) == 5
        assert len(taken) <= 5 + COUNTED_AHEAD

    @pytest.mark.parametrize("behind", ["pdf", "png"])
    def test_a_source_without_end_is_read_ahead_within_bounds(self, behind: str) -> None:
        # given a first document that is slow to count
        taken: list[int] = []

        def source() -> Iterator[Item]:
            yield Item("slow", "/slow.pdf")
            for n in range(10_000):
                taken.append(n)
                yield Item(str(n), f"/{n}.{behind}")

        def behave(uri: str) -> int:
            if uri == "/slow.pdf":
                # Nobody sets it: time for the source to be read to its end, were there no bound.
                threading.Event().wait(0.3)
            return 1

        first = next(pages_by(FakeCounter(behave), source()))

        assert first.id == "slow#page=1"
        assert len(taken) == COUNTED_AHEAD

    def test_pages_are_made_as_they_are_asked_for(self) -> None:
        counter = FakeCounter(lambda uri: 10**12)

        planned = pages_by(counter, [Item("a.pdf", "/a.pdf")])

        assert next(planned).page == 1
        assert next(planned).page == 2

    @pytest.mark.parametrize("stop", ["ended", "left", "failed"])
    def test_the_processes_end_with_the_plan(self, stop: str) -> None:
        def source() -> Iterator[Item]:
            yield Item("a", "/a.pdf")
            if stop == "failed":
                raise StorageUnavailableError("s3 is away")

        counter = FakeCounter()
        planned = pages_of(listing(source()), lambda: counter)._items  # type: ignore[arg-type, return-value]

        if stop == "failed":
            with pytest.raises(StorageUnavailableError):
                list(planned)
        elif stop == "left":
            next(planned)
            planned.close()  # type: ignore[attr-defined]
        else:
            list(planned)

        assert counter.closed


def test_a_region_is_no_page() -> None:
    counter = FakeCounter()

    with pytest.raises(SourceError, match=r"'a.png#r=1' is a region of a page, which recognition"):
        list(pages_by(counter, [Item("a.png#r=1", "/a.png", region=region_of([1, 2, 3, 4]))]))


class TestByteBudget:
    def test_copies_wait_for_each_other_and_one_that_is_too_large_has_all(self) -> None:
        # Given a budget of which a first copy uses the most
        budget, order = ByteBudget(100), list[str]()
        entered, leave = threading.Event(), threading.Event()

        def copy(name: str, size: int) -> None:
            with budget.taken(size):
                order.append(name)
                entered.set()
                leave.wait(10)

        with ThreadPoolExecutor(2) as threads:
            threads.submit(copy, "most of it", 80)
            entered.wait(10)
            # When another one, larger than the budget, asks for its bytes
            second = threads.submit(copy, "too large", 1000)
            # Then it has them only once the first one is done, and small ones go on meanwhile
            with budget.taken(20):
                assert order == ["most of it"]
            leave.set()
            second.result(10)
        assert order == ["most of it", "too large"]
