"""Large documents on S3: their pages are counted with a few blocks of each, and as of a whole copy."""

import io
import random
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pikepdf
import pytest
from PIL import Image

from contract.records import Item
from contract.storage import Storage
from producer.sources.document_blocks import BLOCK_BYTES
from producer.sources.document_pages import MOST_BLOCKS, PageCounter
from tests.unit.documents import tiff_of

LARGE = (MOST_BLOCKS + 4) * BLOCK_BYTES
"""Bytes of a document that is not copied to be counted."""

NOISE = random.Random(0).randbytes(LARGE)

PAGES = 3

STREAMS = pikepdf.ObjectStreamMode


def large_pdf(pages: int = PAGES, **options: Any) -> bytes:
    """Return a PDF whose first page draws something large."""
    with pikepdf.new() as document:
        for _ in range(pages):
            document.add_blank_page(page_size=(30, 20))
        document.pages[0].Contents = document.make_stream(NOISE)
        target = io.BytesIO()
        document.save(target, compress_streams=False, **options)
    return target.getvalue()


def large_tiff(pages: int) -> bytes:
    """Return a TIFF whose pages lie far from each other."""
    side = int((LARGE / PAGES) ** 0.5) + 1
    return tiff_of(*[Image.frombytes("L", (side, side), NOISE[: side * side])] * pages)


class Watched:
    """A store that notes what is read of it."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.copied: list[str] = []
        self.ranges: dict[str, int] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        self.ranges[uri] = self.ranges.get(uri, 0) + 1
        data: bytes = self._store.read_range(uri, start, length)
        return data

    def local_copy(self, uri: str) -> AbstractContextManager[Path]:
        self.copied.append(uri)
        copy: AbstractContextManager[Path] = self._store.local_copy(uri)
        return copy


@pytest.fixture
def store(storage: Storage, s3_bucket: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Watched:
    watched = Watched(storage.at(s3_bucket.uri("")))
    monkeypatch.setattr(storage, "at", lambda _: watched)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return watched


@pytest.fixture
def count(storage: Storage, s3_bucket: Any, store: Watched) -> Iterator[Callable[[str, bytes], int | None]]:
    """Put a document on S3, and return its number of pages."""
    counter = PageCounter(storage, None, 10 * LARGE)
    yield lambda name, data: counter.count(Item(name, s3_bucket.put(name, data)))
    counter.close()


Count = Callable[[str, bytes], int | None]


def test_pages_are_counted_with_few_blocks_and_nothing_stays(
    count: Count, store: Watched, tmp_path: Path
) -> None:
    documents = {
        "plain.pdf": large_pdf(object_stream_mode=STREAMS.disable),
        "packed.pdf": large_pdf(object_stream_mode=STREAMS.generate),
        "linearized.pdf": large_pdf(linearize=True),
        "many-pages.pdf": large_pdf(5_000),
        "behind-a-letter.pdf": b"Dear Sir,\n" + large_pdf(),
        "scan.tif": large_tiff(PAGES),
    }

    counted = {name: count(name, data) for name, data in documents.items()}

    assert counted == {**dict.fromkeys(documents, PAGES), "many-pages.pdf": 5_000}
    assert store.copied == []
    assert max(store.ranges.values()) <= 6
    assert list(tmp_path.iterdir()) == []


def test_a_document_that_needs_more_blocks_is_copied(count: Count, store: Watched) -> None:
    """Given files that have to be searched from beginning to end, and one whose pages are all far apart."""
    lost_table = large_pdf(object_stream_mode=STREAMS.disable).rpartition(b"startxref")[0]
    documents = {
        "lost-table.pdf": lost_table,
        "damaged.pdf": b"%PDF-1.7" + NOISE,
        "far-apart.tif": large_tiff(MOST_BLOCKS),
    }

    counted = {name: count(name, data) for name, data in documents.items()}

    assert counted == {"lost-table.pdf": PAGES, "damaged.pdf": None, "far-apart.tif": MOST_BLOCKS}
    assert len(store.copied) == len(documents)
    assert max(store.ranges.values()) <= MOST_BLOCKS


def test_a_large_document_that_cannot_be_opened_is_not_read_further(count: Count, store: Watched) -> None:
    assert count("encrypted.pdf", large_pdf(encryption=pikepdf.Encryption(user="me", owner="us"))) is None
    assert count("image.pdf", b"\x89PNG\r\n\x1a\n" + NOISE) == 0
    assert store.copied == []
