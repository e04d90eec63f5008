"""Parquet files with images: which columns are read, what reads them, and what damage costs."""

import datetime
import decimal
import importlib.util
import random
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from contract.errors import ErrorCode, ItemError, JobError, SourceError
from contract.shards import Entry, Shard, ShardOptions, parquet_file
from contract.shards.parquet import FORMAT
from contract.storage.local import LocalStore

STRUCT = pa.struct([("bytes", pa.binary()), ("path", pa.string())])

IMAGES = [f"image {number}".encode() * 50 for number in range(7)]

MAX_BYTES = 1 << 20


class Recording(LocalStore):
    """Storage that notes the ranges that are read."""

    def __init__(self) -> None:
        self.ranges: list[range] = []

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        self.ranges.append(range(start, start + length))
        return super().read_range(uri, start, length)


def shard_of(path: Path) -> Shard:
    store = Recording()
    return Shard(str(path), store, store.version(str(path)))


def ranges(shard: Shard) -> list[range]:
    assert isinstance(shard.store, Recording)
    return shard.store.ranges


@pytest.fixture
def made(tmp_path: Path) -> Callable[..., Shard]:
    """Makes a file of the given columns, with three rows in a row group."""

    def make(columns: dict[str, Any], **options: Any) -> Shard:
        path = tmp_path / "a.parquet"
        pq.write_table(pa.table(columns), path, **{"row_group_size": 3, **options})
        return shard_of(path)

    return make


def structs(images: Sequence[bytes | None]) -> pa.Array:
    return pa.array([{"bytes": image, "path": f"{i}.png"} for i, image in enumerate(images)], STRUCT)


def entries(shard: Shard, **options: Any) -> list[Entry]:
    return list(FORMAT.entries(shard, ShardOptions(**options), Counter()))


def contents(shard: Shard, found: Sequence[Entry], max_bytes: int = MAX_BYTES) -> list[bytes | ItemError]:
    groups = FORMAT.groups([entry.member for entry in found])
    return [content for group in groups for content in FORMAT.contents(shard, group, max_bytes)]


def codes(found: Sequence[bytes | ItemError]) -> list[ErrorCode | bytes]:
    return [content.code if isinstance(content, ItemError) else content for content in found]


def metadata(entry: Entry) -> Any:
    return entry.metadata and msgspec.json.decode(entry.metadata)


@pytest.mark.parametrize(
    ("image", "options"),
    [
        (pa.array(IMAGES, pa.binary()), {}),
        (pa.array(IMAGES, pa.large_binary()), {}),
        (pa.array(IMAGES, pa.binary()), {"compression": "zstd", "use_dictionary": False}),
        (pa.array(IMAGES, pa.binary()), {"write_page_checksum": True, "data_page_version": "2.0"}),
        (structs(IMAGES), {}),
    ],
)
def test_every_row_is_an_image_however_it_is_stored(
    image: pa.Array, options: dict[str, Any], made: Callable[..., Shard]
) -> None:
    shard = made({"n": range(7), "image": image}, **options)

    found = entries(shard)

    assert [entry.id for entry in found] == [f"00000000{number}" for number in range(7)]
    assert contents(shard, found) == IMAGES
    assert contents(shard, found[1::3]) == IMAGES[1::3]


def test_ids_labels_and_metadata_come_from_columns(made: Callable[..., Shard]) -> None:
    shard = made({"key": [5, 6], "picture": IMAGES[:2], "text": ["five", None], "font": ["a", "b"]})

    first, second = entries(shard, id_column="key", label_column="text")

    assert (first.id, first.label, metadata(first)) == ("5", "five", {"font": "a"})
    assert (second.id, second.label, metadata(second)) == ("6", None, {"font": "b"})


def test_a_row_is_named_by_the_file_it_was_made_of_else_by_its_id(made: Callable[..., Shard]) -> None:
    (of_file,) = entries(made({"image": structs(IMAGES[:1])}))
    (of_path,) = entries(made({"image": structs(IMAGES[:1])}), id_column="image.path")
    (of_bytes,) = entries(made({"image": IMAGES[:1], "id": ["x"]}), id_column="id")

    assert (of_file.id, of_file.member.name) == ("000000000", "0.png")
    assert (of_path.id, of_path.member.name) == ("0.png", "0.png")
    assert of_bytes.member.name == "x"


def test_metadata_is_json_of_what_json_has(made: Callable[..., Shard]) -> None:
    zoned = pa.array([1_700_000_000_123_456_789], pa.timestamp("ns", tz="Europe/Berlin"))
    (entry,) = entries(
        made(
            {
                "image": IMAGES[:1],
                "text": pa.array(["ü"]).dictionary_encode(),
                "number": [2**63 - 1],
                "fraction": pa.array([0.5], pa.float16()),
                "infinite": [float("nan")],
                "flag": [True],
                "day": [datetime.date(2026, 1, 2)],
                "time": zoned,
                "price": [decimal.Decimal("1.10")],
                "null": pa.array([None], pa.string()),
                "list": [[1, 2]],
            }
        )
    )

    assert metadata(entry) == {
        "text": "ü",
        "number": 2**63 - 1,
        "fraction": 0.5,
        "infinite": None,
        "flag": True,
        "day": "2026-01-02",
        "time": "2023-11-14T22:13:20.123456789Z",
        "price": "1.10",
    }


def test_metadata_that_is_too_large_is_passed_over(made: Callable[..., Shard]) -> None:
    passed_over: Counter[str] = Counter()
    shard = made({"image": IMAGES[:2], "text": ["x" * 70_000, "y"]})

    first, second = FORMAT.entries(shard, ShardOptions(), passed_over)

    assert (first.metadata, metadata(second)) == (None, {"text": "y"})
    assert passed_over == {"unreadable_metadata": 1}


def test_planning_reads_no_image_and_a_chunk_reads_row_groups_side_by_side_at_once(
    made: Callable[..., Shard],
) -> None:
    large = [random.Random(number).randbytes(100_000) for number in range(9)]
    shard = made({"image": large, "label": ["x"] * 9})

    found = entries(shard, label_column="label")
    planned = sum(map(len, ranges(shard)))
    ranges(shard).clear()
    assert contents(shard, found[:6]) == large[:6]

    assert planned < 110_000
    # The footer, and two row groups together.
    assert [len(some) > 600_000 for some in ranges(shard)] == [False, True]


def test_a_large_row_group_is_read_in_pieces(made: Callable[..., Shard]) -> None:
    large = [random.Random(number).randbytes(1 << 20) for number in range(20)]
    shard = made({"image": large}, row_group_size=20, write_batch_size=1)

    assert contents(shard, entries(shard)) == large
    assert max(map(len, ranges(shard))) <= 8 << 20


def test_an_image_that_is_null_missing_or_too_large_costs_its_row_only(made: Callable[..., Shard]) -> None:
    images = [IMAGES[0], None, b"", b"x" * 2_000]
    null_struct = pa.array([{"bytes": image} if image is not None else None for image in images], STRUCT)
    for column in (pa.array(images, pa.binary()), structs(images), null_struct):
        shard = made({"image": column})
        found = codes(contents(shard, entries(shard), max_bytes=1_000))
        assert found == [IMAGES[0], ErrorCode.NOT_FOUND, b"", ErrorCode.TOO_MANY_BYTES]


@pytest.mark.parametrize(
    ("columns", "options", "message"),
    [
        ({"text": ["a"]}, {}, "no images.*--image-column.*text"),
        ({"a": [b"1"], "b": [b"2"]}, {}, r"several columns.*\(a, b\)"),
        ({"a": [b"1"]}, {"image_column": "c"}, "no column c of images.*a"),
        ({"a": ["1"]}, {"image_column": "a"}, "column a holds string"),
        ({"a": [b"1"]}, {"id_column": "c"}, "no column c of ids"),
        ({"a": [b"1"], "b": [[1]]}, {"label_column": "b"}, "column b holds list"),
        ({"a": [b"1"], "b": ["x" * 5_000]}, {"id_column": "b"}, "row 0 has an id.*4,096"),
    ],
)
def test_what_is_wrong_with_columns_is_said(
    columns: dict[str, Any], options: dict[str, Any], message: str, made: Callable[..., Shard]
) -> None:
    with pytest.raises(SourceError, match=message):
        entries(made(columns), **options)


def test_a_column_with_few_bytes_for_many_rows_is_sound(made: Callable[..., Shard]) -> None:
    images, rows = [b"same"] * 100_000, 100_000

    found = entries(made({"a": images, "b": ["x"] * rows}, row_group_size=rows), label_column="b")

    assert len(found) == rows


def test_a_footer_that_claims_more_rows_than_its_bytes_can_hold_is_damaged(
    made: Callable[..., Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet_file, "MAX_ROWS_PER_BYTE", 10)

    with pytest.raises(SourceError, match="bytes cannot hold 100,000 rows"):
        entries(made({"a": pa.nulls(100_000, pa.binary())}, row_group_size=100_000))


@pytest.mark.parametrize("named", [{}, {"image_column": "b"}])
def test_of_several_columns_the_one_named_image_or_the_asked_one_is_read(
    named: dict[str, str], made: Callable[..., Shard]
) -> None:
    shard = made({"b": [b"B"], "image": [b"I"]})

    assert contents(shard, entries(shard, **named)) == [b"B" if named else b"I"]


@pytest.mark.parametrize("data", [b"", b"PAR1", b"not Parquet at all" * 10, b"PARE" * 30])
def test_a_file_that_is_no_parquet_is_an_error_of_the_source(data: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    path.write_bytes(data)

    with pytest.raises(SourceError, match="no Parquet file, or damaged"):
        entries(shard_of(path))


def damaged(shard: Shard, group: int, column: int) -> Shard:
    """Return the file with the first page of a column overwritten."""
    path = Path(shard.uri)
    start = pq.ParquetFile(path).metadata.row_group(group).column(column).data_page_offset
    data = bytearray(path.read_bytes())
    data[start : start + 30] = b"\xff" * 30
    path.write_bytes(data)
    return shard_of(path)


def test_damaged_images_cost_their_row_group_only(made: Callable[..., Shard]) -> None:
    options = {"use_dictionary": False}
    shard = damaged(made({"image": IMAGES, "label": list("abcdefg")}, **options), group=1, column=0)

    found = contents(shard, entries(shard, label_column="label"))

    assert codes(found) == [*IMAGES[:3], *[ErrorCode.DAMAGED_SHARD] * 3, IMAGES[6]]


def test_rows_whose_other_columns_are_damaged_are_planned_and_fail(made: Callable[..., Shard]) -> None:
    options = {"use_dictionary": False}
    shard = damaged(made({"image": IMAGES, "label": list("abcdefg")}, **options), group=1, column=1)

    found = entries(shard, label_column="label")

    assert [entry.label for entry in found] == ["a", "b", "c", None, None, None, "g"]
    assert codes(contents(shard, found)) == [*IMAGES[:3], *[ErrorCode.DAMAGED_SHARD] * 3, IMAGES[6]]


@pytest.mark.parametrize("seed", range(20))
def test_random_damage_ends_in_typed_errors(seed: int, made: Callable[..., Shard]) -> None:
    shard = made({"image": structs(IMAGES), "label": list("abcdefg")})
    path, chance = Path(shard.uri), random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(chance.choice([1, 5, 20])):
        data[chance.randrange(4, len(data) - 8)] = chance.randrange(256)
    path.write_bytes(data[: chance.choice([len(data)] * 3 + [chance.randrange(len(data))])])
    shard = shard_of(path)

    try:
        found = entries(shard, label_column="label")
    except SourceError:
        return

    assert len(contents(shard, found)) == len(found)


def test_without_pyarrow_the_extra_is_named(
    made: Callable[..., Shard], monkeypatch: pytest.MonkeyPatch
) -> None:
    shard = made({"image": IMAGES})
    found = entries(shard)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)

    with pytest.raises(SourceError, match=r"trace-ocr-batch\[columns\]"):
        entries(shard)
    with pytest.raises(JobError, match=r"trace-ocr-batch\[columns\]"):
        contents(shard, found)
