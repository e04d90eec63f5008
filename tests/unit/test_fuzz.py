"""Strangers' bytes: whatever comes in, a result or one of the product's own errors comes out.

The same examples on every run; each that once found something is written down as one.
"""

# ruff: noqa: F401, F811 - fixtures of the worker's layer are used here too
import io
import json
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from celery.exceptions import Reject
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image

from contract.errors import ErrorCode, ItemError, TraceOcrError
from contract.job import Job, parse_job
from contract.lines import encode_line
from contract.records import ChunkMessage, Item, decode_item
from contract.region import Region
from contract.settings import Settings, environment_of, load_settings, variable_of
from contract.storage import Storage
from contract.workspace import Workspace
from producer.regions import FORMATS
from producer.regions.base import RegionFormat, RegionOptions, RegionText
from producer.results.merge import merge
from producer.sources.manifest import read_manifest
from tests.unit.producer.conftest import planned, write_part
from tests.unit.producer.regions.test_every_format import SAMPLE_OF
from tests.unit.worker.conftest import (
    FakePool,
    FakeReader,
    context,
    encode,
    isolated,
    message,
    png,
    pool,
    reader,
    recognisers,
)
from worker.app.tasks import run_message
from worker.images.decode import DecodedImage, decode_crop
from worker.jobs.chunk import WorkerContext, read_chunk

MAX_PIXELS = 10_000

DEEP = 60_000
"""Brackets in a row: deeper than any parser follows, and within every limit on bytes."""


def fuzz(examples: int) -> Callable[[Any], Any]:
    """Run a test with so many inputs, the same ones every time, however slow the machine is."""
    return settings(
        max_examples=examples,
        derandomize=True,
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
    )


def attempt(use: Callable[[], Any]) -> tuple[Any, str]:
    """Return what came of it, or what the product's own error says; any other error is the test's end."""
    try:
        return use(), ""
    except TraceOcrError as error:
        assert str(error), "an error that says nothing"  # noqa: PT017 - one outcome of two
        return None, str(error)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


def records_of(*fields: str) -> st.SearchStrategy[bytes]:
    """Lines of JSON objects that have some of these fields, right or wrong."""
    texts = st.text(min_size=1, max_size=12)
    record = st.fixed_dictionaries({}, optional=dict.fromkeys(fields, texts | json_values))
    return st.lists(record, max_size=4).map(
        lambda rows: b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    )


def mutated(valid: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    """Valid bytes with some of them changed, and perhaps the end cut off."""

    def mutate(data: bytes, changes: list[tuple[int, int]], length: int) -> bytes:
        changed = bytearray(data)
        for position, value in changes:
            if changed:
                changed[position % len(changed)] = value
        return bytes(changed[: max(0, len(changed) - length)])

    change = st.tuples(st.integers(0, 1 << 16), st.integers(0, 255))
    return st.builds(mutate, valid, st.lists(change, max_size=6), st.just(0) | st.integers(0, 64))


# manifests

csv_text = st.lists(
    st.sampled_from(["uri", "id", "label", ",", "\n", "\r\n", '"', "a.png", " ", "\0", "é", "\ufeff", ";"]),
    max_size=24,
).map(lambda parts: "".join(parts).encode())


@pytest.mark.parametrize("uri", ["list.jsonl", "list.csv", "-"])
@fuzz(120)
@given(data=st.binary(max_size=80) | csv_text | mutated(records_of("uri", "id", "label")))
@example(data=b'{"uri": "\xff"}\n')
@example(data=b'{"uri": "a.png", "more": ' + b"[" * DEEP + b"\n")
@example(data=json.dumps({"uri": "x" * 4096}).encode() + b"\n")
@example(data=b"uri,id\n" + b"x" * 4096 + b",a\n")
@example(data=b'uri\n"' + b"x\n" * DEEP + b'"\n')
@example(data=b'{"uri": "\\ud800"}\n')
def test_a_manifest_gives_items_that_a_worker_can_read_or_our_error(
    uri: str, data: bytes, storage: Storage, tmp_path: Path
) -> None:
    path = uri if uri == "-" else str(tmp_path / uri)
    if uri != "-":
        Path(path).write_bytes(data)

    items, _ = attempt(lambda: list(read_manifest(path, "/data/crops", storage, io.BytesIO(data), Counter())))

    assert [decode_item(encode_line(item).rstrip(b"\n")) for item in items or []] == (items or [])


# files of regions

TAGS = (b"<", b">", b"/>", b"'", b'"', b"&", b" ", b"x", b"<a>", b"</a>", b"{", b"}", b"]", b",")


@st.composite
def rearranged(draw: st.DrawFn, data: bytes) -> bytes:
    """Data with pieces of it moved, doubled or left out, or with what breaks markup."""
    for _ in range(draw(st.integers(1, 3))):
        start, place = (draw(st.integers(0, len(data))) for _ in range(2))
        moved = data[start : start + draw(st.sampled_from([1, 8, 200]))]
        piece = draw(st.just(moved) | st.sampled_from(TAGS))
        data = data[:place] + piece + data[place + draw(st.sampled_from([0, len(piece)])) :]
    return data


described = st.sampled_from(list(FORMATS)).flatmap(
    lambda name: st.tuples(
        st.just(name),
        mutated(st.just(SAMPLE_OF[name].data))
        | rearranged(SAMPLE_OF[name].data)
        | json_values.map(json.dumps).map(str.encode),
    )
)


LINE_IN_A_TEXT = SAMPLE_OF["page"].data.replace(
    b"<TextEquiv><Unicode/></TextEquiv>",
    b'<TextEquiv><TextLine id="l4"><Coords points="0,0 9,0 9,9"/></TextLine></TextEquiv>',
)


@fuzz(150)
@given(described=described)
@example(described=("page", LINE_IN_A_TEXT))
@example(described=("hocr", b"<html/>"))
@example(described=("coco", b'{"images": [], "annotations": [], "x": ' + b"[" * DEEP))
@example(described=("labelme", b'{"imagePath": "", "shapes": [{"points": [[1e400, 0], [1, 1]]}]}'))
@example(described=("template", b'[{"name": "\\ud800", "region": [0, 0, 1, 1]}]'))
@example(
    described=(
        "cvat",
        b"<annotations><image><box xtl='nan' ytl='0' xbr='1e999' ybr='1'/>",
    )
)
def test_a_file_gives_regions_that_a_chunk_can_hold_or_our_error(described: tuple[str, bytes]) -> None:
    name, data = described
    known = FORMATS[name]
    for level in known.levels or (None,):
        regions_are_read_or_refused(known, RegionOptions(level), data)


def regions_are_read_or_refused(known: RegionFormat, options: RegionOptions, data: bytes) -> None:
    asked: list[Any] = []

    def pages() -> list[tuple[str | None, int | None, list[Region]]]:
        found = known.pages(io.BytesIO(data), options)
        return [(page.image, page.page, list(page.regions)) for page in found]

    def text(*region: Any) -> RegionText:
        asked.append(region)
        return RegionText("a<b", 0.5)

    found, refused = attempt(pages)

    items = [Item("a.png", "/a.png", region=region) for _, _, regions in found or [] for region in regions]
    assert [decode_item(encode_line(item).rstrip(b"\n")) for item in items] == items
    if known.holds_text:
        _, refused_too = attempt(lambda: known.write(io.BytesIO(data), options, text, io.BytesIO()))
        assert bool(refused_too) == bool(refused)
        names = {(*page[:2], region.name) for page in found or [] for region in page[2]}
        assert refused or set(asked) <= names


# messages


@fuzz(150)
@given(
    args=st.just(()) | st.lists(json_values, max_size=2).map(tuple),
    payload=st.dictionaries(st.text(max_size=8), json_values, max_size=4)
    | st.fixed_dictionaries(
        {
            "job": st.just("crops-1") | json_values,
            "workspace": st.sampled_from(
                ["/", "", "s3://", "s3:///", "\ud800", "/etc", "file:///", "\0", "."]
            )
            | json_values,
            "chunk": st.integers() | json_values,
        }
    ),
)
@example(args=(), payload={"job": "crops-1", "workspace": "s3://bucket/\ud800", "chunk": 0})
@example(args=(), payload={"job": "crops-1", "workspace": "x" * (1 << 20), "chunk": 0})
def test_a_message_is_dropped_re_sent_or_run_and_never_crashes_the_worker(
    args: tuple[Any, ...], payload: dict[str, Any], context: WorkerContext
) -> None:
    try:
        outcome = run_message("recognition", args, payload, context, lambda: None)
    except Reject as rejected:
        outcome = {"dropped": not rejected.requeue}

    assert outcome.get("dropped")


# settings

texts_for_settings = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=12)
numbers = st.sampled_from(["nan", "inf", "-inf", "1e308", "1e400", "-1", "0", "1_0", "\u0661", "0x10", " 1 "])
roots = st.sampled_from(["[", "[]", "{}", '["a"]', "[1]", '["\\ud800"]', "[null]", "a,,b", "[" * DEEP])


@pytest.mark.parametrize("name", [*Settings.model_fields, "config"])
@fuzz(20)
@given(value=texts_for_settings | numbers | roots | st.just("x" * 5000))
@example(value="[" * DEEP)
@example(value="inf")
@example(value="x" * 5000)
def test_a_setting_is_taken_and_handed_on_or_refused_by_name(name: str, value: str, tmp_path: Path) -> None:
    with mock.patch.dict(os.environ, {variable_of(name): value}):
        ours, said = attempt(load_settings)

    if ours is None:
        assert variable_of(name) in said or "visibility_timeout" in said
        return
    assert all(math.isfinite(each) for each in ours.model_dump().values() if isinstance(each, float))
    with mock.patch.dict(os.environ, environment_of(ours)):
        assert load_settings().model_dump() == ours.model_dump()


@fuzz(60)
@given(
    data=st.binary(max_size=60)
    | st.builds(
        "{} = {}".format,
        st.sampled_from(sorted(Settings.model_fields)),
        json_values.map(json.dumps) | st.sampled_from(["1979-05-27", "inf", "nan", "0x7f", "'''", "[{a=1}]"]),
    ).map(str.encode)
)
@example(data=b"chunk_size = " + b"[" * DEEP)
@example(data=b'namespace = "\xff"')
def test_a_settings_file_is_taken_or_refused(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "trace-ocr.toml"
    path.write_bytes(data)

    with mock.patch.dict(os.environ, {"TRACE_OCR_CONFIG": str(path)}):
        settings_read, said = attempt(load_settings)

    assert settings_read or said


# the workspace's own files

A_JOB = (
    b'{"id":"a","parameters":{},"source":{"type":"folder","uri":"/a"},"created_at":1,'
    b'"plan":{"chunks":1,"items":1}}'
)


@fuzz(150)
@given(data=st.binary(max_size=60) | json_values.map(json.dumps).map(str.encode) | mutated(st.just(A_JOB)))
@example(data=b"[" * DEEP)
@example(data=b'{"id": "\xff"}')
def test_job_json_is_a_job_or_our_error_that_names_the_file(data: bytes) -> None:
    job, said = attempt(lambda: parse_job(data, "/data/out/job.json"))

    assert job or "/data/out/job.json" in said


LINES = records_of("id", "name", "value", "confidence", "error", "uri", "attempts")
DAMAGED = [b"\xff\n\n", b'{"x": "\xff"}\n{}\n', b'{"x": ' + b"[" * DEEP + b"\n{}\n", b"\n\n"]


@pytest.mark.parametrize("name", ["halt_json", "summary"])
@fuzz(60)
@given(data=st.binary(max_size=40) | records_of("status", "message", "at") | st.sampled_from(DAMAGED))
def test_a_small_file_of_the_workspace_is_read_or_our_error(
    name: str, data: bytes, workspace: Workspace
) -> None:
    workspace.store.replace(getattr(workspace, name), data)

    load = workspace.load_halt if name == "halt_json" else workspace.load_summary
    read, said = attempt(load)

    assert read is not None or getattr(workspace, name) in said


@pytest.mark.usefixtures("whole_parts")
@fuzz(80)
@given(data=st.binary(max_size=60) | LINES | mutated(LINES) | st.sampled_from(DAMAGED))
@example(data=DAMAGED[0])
@example(data=DAMAGED[1])
@example(data=DAMAGED[2])
def test_a_part_is_merged_and_counted_or_our_error(data: bytes, planned: Job, workspace: Workspace) -> None:
    workspace.store.replace(workspace.part(0), data)

    for use in (lambda: merge(planned, workspace), lambda: workspace.outcome(0)):
        done, said = attempt(use)

        assert done or workspace.part(0) in said


@pytest.fixture
def whole_parts(planned: Job, write_part: Any) -> None:
    for number in range(3):
        write_part(number)


@fuzz(60)
@given(data=st.binary(max_size=60) | records_of("id", "uri", "label") | st.sampled_from(DAMAGED))
@example(data=DAMAGED[0])
@example(data=DAMAGED[1])
@example(data=DAMAGED[2])
def test_a_chunk_is_read_or_our_error(
    data: bytes, message: ChunkMessage, context: WorkerContext, workspace: Workspace
) -> None:
    workspace.store.replace(workspace.chunk(0), data)
    workspace.store.delete(workspace.part(0))
    context.ledger._redis.flushall()

    outcome, said = attempt(lambda: read_chunk(message, context, lambda: None))

    assert "ok" in outcome if outcome else workspace.chunk(0) in said


# images


def small_images() -> Iterator[bytes]:
    noise = Image.fromarray(np.random.default_rng(7).integers(0, 256, (9, 12, 3), np.uint8))
    for file_format in ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP"):
        for mode in ("RGB", "L", "1", "P"):
            buffer = io.BytesIO()
            if file_format in ("JPEG", "WEBP") and mode in ("1", "P"):
                continue
            noise.convert(mode).save(buffer, file_format)
            yield buffer.getvalue()


@fuzz(800)
@given(data=st.binary(max_size=200) | mutated(st.sampled_from(list(small_images()))))
@example(data=b"")
@example(data=b"P6\n-1 -1\n255\n")
@example(data=b"BM" + b"\xff" * 60)
def test_bytes_are_an_image_within_the_limits_or_an_item_error(data: bytes) -> None:
    try:
        image = decode_crop(data, MAX_PIXELS)
    except ItemError as error:
        outcome: object = error.code
    else:
        height, width, colours = image.pixels.shape
        outcome = (image.pixels.dtype, colours, height * width <= MAX_PIXELS)

    assert outcome in (*ErrorCode, (np.uint8, 3, True))
