"""Parquet and LMDB as sources: what is named, and which Parquet file is a manifest."""

from io import BytesIO
from pathlib import Path
from typing import Any

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contract.errors import SourceError
from contract.records import Item
from contract.storage import Storage
from producer.sources.listing import identify_source, list_source
from producer.sources.shards import with_columns


@pytest.fixture
def listed(storage: Storage) -> Any:
    """Return the items of a source; keyword arguments name its columns."""

    def listed(text: str | Path, **columns: str) -> list[Item]:
        source = with_columns(
            identify_source(str(text)), columns.get("image"), columns.get("id"), columns.get("label")
        )
        return list(list_source(source, storage, BytesIO()))

    return listed


def test_the_folder_of_an_lmdb_is_the_lmdb(tmp_path: Path, listed: Any) -> None:
    with lmdb.open(str(tmp_path / "words"), lock=False) as file, file.begin(write=True) as put:
        put.put(b"num-samples", b"1")
        put.put(b"image-000000001", b"I")

    (item,) = listed(tmp_path / "words")

    assert (item.id, item.uri) == ("image-000000001", str(tmp_path / "words/data.mdb"))
    assert listed(tmp_path / "words/data.mdb") == [item]


def test_rows_of_several_files_are_known_by_their_files(tmp_path: Path, listed: Any) -> None:
    for name in ("a", "b"):
        pq.write_table(pa.table({"image": [b"I"]}), tmp_path / f"{name}.parquet")

    items = listed(tmp_path / "{a,b}.parquet")

    assert [item.id for item in items] == ["a.parquet/000000000", "b.parquet/000000000"]


def test_a_parquet_file_with_uris_and_no_images_is_a_manifest(tmp_path: Path, listed: Any) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"uri": ["x/a.png", "s3://b/c.png"], "label": ["1", None]}), path)

    assert listed(path) == [Item("x/a.png", f"{tmp_path}/x/a.png", "1"), Item("s3://b/c.png", "s3://b/c.png")]
    assert not identify_source(str(path)).confined
    assert [item.id for item in listed(tmp_path / "*.parquet")] == [
        "list.parquet/x/a.png",
        "list.parquet/s3://b/c.png",
    ]


def test_a_parquet_file_with_uris_and_images_is_a_shard(tmp_path: Path, listed: Any) -> None:
    path = tmp_path / "both.parquet"
    pq.write_table(pa.table({"uri": ["x"], "image": [b"I"]}), path)

    (item,) = listed(path)

    assert item.member is not None


def test_the_columns_of_a_manifest_are_not_named(tmp_path: Path, listed: Any) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"uri": ["x"], "text": ["y"]}), path)

    with pytest.raises(SourceError, match="it is a manifest"):
        listed(path, label="text")
    with pytest.raises(SourceError, match="no column image of images"):
        listed(path, image="image")


def test_a_parquet_file_of_neither_says_what_it_has(tmp_path: Path, listed: Any) -> None:
    path = tmp_path / "list.parquet"
    pq.write_table(pa.table({"text": ["y"]}), path)

    with pytest.raises(SourceError, match=r"has no images.*text \(string\)"):
        listed(path)
