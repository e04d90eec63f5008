"""Manifests in columns: the same items as from lines, whatever the format, and what damage costs."""

import contextlib
import importlib.util
import random
from collections import Counter
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from contract.errors import SourceError
from contract.records import Item
from contract.region import region_of
from contract.storage import Storage
from producer.sources.manifest import read_manifest

NAMES = ("list.parquet", "list.arrow", "list.feather", "stream.arrow")

Read = Callable[[str, dict[str, Any]], list[Item]]


def write(path: Path, columns: dict[str, Any]) -> None:
    table = pa.table(columns)
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=2)
    elif path.suffix == ".feather":
        feather.write_feather(table, path)
    else:
        opened = pa.ipc.new_stream if path.stem == "stream" else pa.ipc.new_file
        with opened(path, table.schema) as writer:
            writer.write_table(table, max_chunksize=2)


@pytest.fixture
def read_file(storage: Storage) -> Callable[[Path], list[Item]]:
    return lambda path: list(read_manifest(str(path), "/data", storage, BytesIO(), Counter()))


@pytest.fixture
def read(tmp_path: Path, read_file: Any) -> Read:
    """Return the items of a manifest of this name and these columns."""

    def read(name: str, columns: dict[str, Any]) -> list[Item]:
        write(tmp_path / name, columns)
        return list(read_file(tmp_path / name))

    return read


@pytest.mark.parametrize("name", NAMES)
def test_a_row_is_an_item_with_uri_id_and_label(name: str, read: Read) -> None:
    columns = {
        "label": ["2016", None, ""],
        "uri": pa.array(["/a.png", "b.png", "/c.png"]).dictionary_encode(),
        "id": [7, None, 9],
        "embedding": [[0.5], [0.5], None],
    }

    assert read(name, columns) == [
        Item("7", "/a.png", "2016"),
        Item("b.png", "/data/b.png"),
        Item("9", "/c.png", ""),
    ]


def test_a_region_is_json_or_numbers_and_a_page_may_be_a_float(read: Read) -> None:
    numbers = {"uri": ["/a.pdf", "/b.png"], "region": [[1, 2, 3, 4], None], "page": [2.0, None]}
    text = {**numbers, "region": ["[1, 2, 3, 4]", None]}

    for columns in (numbers, text):
        first, second = read("list.parquet", columns)
        assert (first.page, first.region) == (2, region_of([1, 2, 3, 4], "px"))
        assert second == Item("/b.png", "/b.png")


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({"path": ["/a"]}, r"no column `uri`.*path \(string\)"),
        ({"uri": ["/a", None]}, "row 2.*uri"),
        ({"uri": ["/a", ""]}, "row 2.*uri"),
        ({"uri": [b"/a"]}, "row 1.*uri"),
        ({"uri": ["/a", "/a"]}, "rows 1 and 2 have the same id '/a'"),
    ],
)
@pytest.mark.parametrize("name", ["list.parquet", "list.arrow"])
def test_what_is_wrong_is_said_with_its_row(
    name: str, columns: dict[str, Any], message: str, read: Read
) -> None:
    with pytest.raises(SourceError, match=message):
        read(name, columns)


@pytest.mark.parametrize("data", [b"", b"FEA1" * 9, b"uri\n/a.png\n", b"ARROW1\0\0" * 9])
@pytest.mark.parametrize("name", ["list.parquet", "list.arrow"])
def test_a_file_of_another_format_is_an_error_of_the_source(
    name: str, data: bytes, tmp_path: Path, read_file: Any
) -> None:
    (tmp_path / name).write_bytes(data)

    with pytest.raises(SourceError, match=r"damaged, or of another format|first version"):
        read_file(tmp_path / name)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("seed", range(6))
def test_random_damage_ends_in_a_typed_error_or_in_items(
    seed: int, name: str, tmp_path: Path, read_file: Any
) -> None:
    path, chance = tmp_path / name, random.Random(seed)
    write(
        path,
        {"uri": [f"/{number}.png" for number in range(50)], "label": ["x" * number for number in range(50)]},
    )
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 5, 20])):
        data[chance.randrange(len(data))] = chance.randrange(256)
    path.write_bytes(data[: chance.choice([len(data)] * 3 + [chance.randrange(len(data))])])

    with contextlib.suppress(SourceError):
        assert len(read_file(path)) <= 50


def test_a_missing_file_is_an_error_of_the_source(tmp_path: Path, read_file: Any) -> None:
    with pytest.raises(SourceError, match=r"there is no file .*list\.arrow"):
        read_file(tmp_path / "list.arrow")


def test_without_pyarrow_the_extra_is_named(read: Read, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(SourceError, match=r"trace-ocr-batch\[columns\]"):
        read("list.parquet", {"uri": ["/a"]})
