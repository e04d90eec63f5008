"""Regions of pages in a chunk: one fetch and one decoding for each page, one line for each region."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import structlog
from PIL import Image

from contract.broker.ledger import Ledger
from contract.job import Job, Plan
from contract.kinds.recognition import RecognitionParameters
from contract.lines import encode_line
from contract.records import ChunkMessage, Item
from contract.region import Region, region_of
from contract.workspace import Workspace
from tests.unit.worker.conftest import FakeDecoders
from worker.images import fetching
from worker.jobs.chunk import WorkerContext, read_chunk

SIDE = 20
"""Of a cell in pixels; the cells of a page are as red as their number."""

Read = Callable[..., list[dict[str, Any]]]


def page_of(*levels: int) -> Image.Image:
    """Return a page of cells from left to right."""
    cells = np.repeat(np.array(levels, np.uint8), SIDE)
    return Image.fromarray(np.broadcast_to(cells[None, :, None], (SIDE, len(cells), 3)).copy())


def cell(number: int, **changes: Any) -> Region:
    """Return the region of a cell, counted from 0."""
    box = [SIDE * number, 0, SIDE * (number + 1), SIDE]
    return msgspec.structs.replace(region_of(box), **changes)


@pytest.fixture
def folder(job: Job, pdf: Callable[..., bytes]) -> Path:
    folder = Path(job.source.uri)
    folder.mkdir()
    page_of(10, 20, 30).save(folder / "a.png")
    page_of(40, 50).save(folder / "b.png")
    page_of(60).save(folder / "two.tif", save_all=True, append_images=[page_of(70)])
    (folder / "two.pdf").write_bytes(pdf((40, 20), (80, 20)))
    (folder / "damaged.png").write_bytes(b"\x89PNG no more")
    return folder


@pytest.fixture
def read(job: Job, workspace: Workspace, ledger: Ledger, context: WorkerContext) -> Read:
    """Read one chunk of these items, with these parameters; return its part's lines."""

    def read(items: list[Item], **parameters: Any) -> list[dict[str, Any]]:
        changes = {
            "plan": Plan(chunks=1, items=len(items)),
            "parameters": RecognitionParameters(recognition_batch_size=4, **parameters),
        }
        workspace.save_job(job.model_copy(update=changes))
        workspace.store.create(workspace.chunk(0), b"".join(map(encode_line, items)))
        ledger.open(job.id, workspace.root, "recognition", job.source.uri, job.created_at)
        ledger.plan_done(job.id, 1, len(items))
        read_chunk(ChunkMessage(job=job.id, workspace=workspace.root, chunk=0), context, lambda: None)
        return [msgspec.json.decode(line) for line in workspace.lines(workspace.part(0))]

    return read


@pytest.fixture
def fetched(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that were fetched."""
    names: list[str] = []
    fetch = fetching.fetch

    def counted(uri: str, *others: Any) -> bytes:
        names.append(uri.rpartition("/")[2])
        return fetch(uri, *others)

    monkeypatch.setattr(fetching, "fetch", counted)
    return names


def codes(lines: list[dict[str, Any]]) -> list[str | None]:
    return [line["error"]["code"] if "error" in line else None for line in lines]


def test_a_page_is_fetched_and_decoded_once_for_all_its_regions(
    folder: Path, read: Read, fetched: list[str], workspace: Workspace
) -> None:
    items = [
        *(Item(f"a.png#r={place}", f"{folder}/a.png", region=cell(place % 3)) for place in range(100)),
        Item("b.png#r=1", f"{folder}/b.png", "forty", region=cell(0, name="first")),
        Item("b.png#r=2", f"{folder}/b.png", region=cell(1)),
        # A file among them is a crop as always.
        Item("b.png", f"{folder}/b.png"),
    ]

    lines = read(items)

    assert [line["id"] for line in lines] == [item.id for item in items]
    levels = [str(10 + 10 * (place % 3)) for place in range(100)]
    assert [line["value"] for line in lines] == [*levels, "40", "50", "50"]
    assert lines[100] == {
        "id": "b.png#r=1",
        "name": "b.png",
        "value": "40",
        "confidence": 40 / 255,
        "label": "forty",
        "region": "first",
    }
    assert fetched == ["a.png", "b.png", "b.png"]
    statistics = workspace.load_statistics(0)
    assert statistics is not None
    assert statistics.counts == {"pages": 2}


def test_a_page_of_a_document_is_rendered_once(folder: Path, read: Read, isolated: FakeDecoders) -> None:
    whole = region_of([0, 0, 1, 1], "rel")
    items = [
        *(
            Item(f"{page}-{place}", f"{folder}/two.pdf", page=page, region=whole)
            for page in (1, 2)
            for place in range(3)
        ),
        Item("tif", f"{folder}/two.tif", page=2, region=whole),
        # Without a page they are of the first one, and the line says that there are more.
        Item("pdf", f"{folder}/two.pdf", region=whole),
        Item("first", f"{folder}/two.tif", region=whole),
        # An image is one page.
        Item("image", f"{folder}/b.png", page=1, region=cell(1)),
        *(
            Item(f"none {name}", f"{folder}/{name}", page=3, region=whole)
            for name in ("two.pdf", "two.tif", "b.png")
        ),
    ]

    lines = read(items)

    assert [line.get("value") for line in lines] == ["1"] * 3 + ["2"] * 3 + [
        "70",
        "1",
        "60",
        "50",
        *[None] * 3,
    ]
    assert codes(lines)[-3:] == ["no_such_page"] * 3
    assert [line.get("note") for line in lines][-6:-3] == ["first of 2 pages", "first of 2 pages", None]
    assert isolated.decoded == 8


def test_what_is_wrong_with_a_region_is_an_error_of_its_own(folder: Path, read: Read) -> None:
    regions = [
        cell(0),
        Region(fault="a box has 4 numbers, not 3"),
        region_of([900, 0, 950, 20]),
        region_of([0, 0, 1, 20]),
        region_of([[0, 0], [60, 0.2], [60, 2.3], [0, 2.1]]),
        cell(2),
    ]

    lines = read([Item(f"{place}", f"{folder}/a.png", region=one) for place, one in enumerate(regions)])

    assert codes(lines) == [None, "bad_region", "bad_region", "too_small", None, None]
    assert lines[1]["error"]["message"] == "a box has 4 numbers, not 3"
    assert lines[1]["uri"] == f"{folder}/a.png"


def test_a_page_that_cannot_be_read_is_an_error_of_each_region_and_logged_once(
    folder: Path, read: Read
) -> None:
    with structlog.testing.capture_logs() as logs:
        lines = read([Item(f"{place}", f"{folder}/damaged.png", region=cell(0)) for place in range(50)])

    assert len(lines) == 50
    assert len(set(codes(lines))) == 1
    (logged,) = [log for log in logs if log["event"] == "page_unreadable"]
    assert logged["regions"] == 50


def test_padding_is_a_parameter(folder: Path, read: Read) -> None:
    # It reaches to the right only, and so moves the crop's middle into the second cell.
    lines = read([Item("a", f"{folder}/a.png", region=cell(0))], padding=1.0)

    assert lines[0]["value"] == "20"
