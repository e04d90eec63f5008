"""Manifests: the item of each line, and the line numbers in errors."""

import gzip
from collections import Counter
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec
import pytest

from contract.errors import SourceError, StorageUnavailableError
from contract.metadata import MAX_METADATA_BYTES
from contract.records import Item
from contract.region import MAX_POINTS, region_of
from contract.storage import Storage
from contract.storage.local import LocalStore
from contract.storage.streams import TranslatedStream
from producer.sources.manifest import STEP_ENTRIES, read_manifest
from producer.sources.manifest_text import MAX_LINE_BYTES
from producer.sources.seen_ids import SeenIds

BOM = b"\xef\xbb\xbf"
JSONL = b'{"uri": "/a.png", "id": "a", "label": "2016"}\n{"uri": "/b.png"}\n'
CSV = b"uri,id,label\n/a.png,a,2016\n/b.png,,\n"
ITEMS = [Item("a", "/a.png", "2016"), Item("/b.png", "/b.png")]


@pytest.fixture
def passed_over() -> Counter[str]:
    return Counter()


@pytest.fixture
def read(tmp_path: Path, storage: Storage, passed_over: Counter[str]) -> Any:
    """Return the items of a manifest of this name and content; `-` is standard input."""

    def read(name: str, content: bytes, base: str = "/data") -> list[Item]:
        uri = "-" if name == "-" else str(tmp_path / name)
        if name != "-":
            Path(uri).write_bytes(content)
        return list(read_manifest(uri, base, storage, BytesIO(content), passed_over))

    return read


@pytest.mark.parametrize(
    ("name", "content"), [("list.jsonl", JSONL), ("list.csv", CSV), ("-", JSONL), ("-", CSV)]
)
@pytest.mark.parametrize("variation", ["as it is", "byte order mark", "CRLF", "no newline at its end"])
def test_a_line_is_an_item_with_uri_id_and_label(
    name: str, content: bytes, variation: str, read: Any
) -> None:
    varied = {
        "as it is": content,
        "byte order mark": BOM + content,
        "CRLF": content.replace(b"\n", b"\r\n"),
        "no newline at its end": content[:-1],
    }[variation]

    assert read(name, varied) == ITEMS


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("list.jsonl.gz", JSONL),
        ("list.csv.gz", CSV),
        ("list.jsonl", JSONL),
        ("list.csv", CSV),
        ("-", JSONL),
        ("-", CSV),
    ],
)
def test_a_manifest_that_gzip_packed_is_read_whatever_its_name(name: str, content: bytes, read: Any) -> None:
    packed = gzip.compress(content)

    assert read(name, packed) == ITEMS
    # Packed in two members, as by pigz or cat, and padded.
    assert read(name, gzip.compress(content[:9]) + gzip.compress(content[9:]) + b"\0" * 9) == ITEMS
    with pytest.raises(SourceError, match=r"(list|standard input).* is cut off or damaged"):
        read(name, packed[:-9])


def test_a_long_packed_manifest_is_read_to_its_end(read: Any) -> None:
    assert len(read("list.jsonl.gz", gzip.compress(many(50_000)))) == 50_000


def test_a_manifest_that_unpacks_without_end_is_refused(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.sources.manifest_stream.FREE_BYTES", 1 << 20)

    with pytest.raises(SourceError, match="more than 200 times its size"):
        read("list.jsonl", gzip.compress(b"\n" * (4 << 20)))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"PK\x03\x04...", "a ZIP archive"),
        (b"BZh9...", "packed by bzip2"),
        (b"\xfd7zXZ\0...", "packed by xz"),
        (b"\x28\xb5\x2f\xfd...", "packed by zstd"),
        ("uri\n/a.png\n".encode("utf-16"), "UTF-16"),
    ],
)
@pytest.mark.parametrize("name", ["list.csv", "-"])
def test_another_format_is_named(content: bytes, said: str, name: str, read: Any) -> None:
    with pytest.raises(SourceError, match=f"{said}: a manifest is JSONL or CSV in UTF-8"):
        read(name, content)


@pytest.mark.parametrize("cut", [1, 10, 15])
@pytest.mark.parametrize("before", [JSONL, b""])
@pytest.mark.parametrize("name", ["list.jsonl", "-"])
def test_a_last_line_that_was_cut_off_is_an_error(cut: int, before: bytes, name: str, read: Any) -> None:
    number = before.count(b"\n") + 1

    with pytest.raises(SourceError, match=f"line {number}:"):
        read(name, before + b'{"uri": "/b.png"}'[:cut])


def test_a_last_row_that_was_cut_off_is_an_error(read: Any) -> None:
    with pytest.raises(SourceError, match="line 3 ends before its last column"):
        read("list.csv", b"uri,id,label\n/a.png,a,2016\n/b.png,b")
    assert len(read("list.csv", b"uri,id,label\n/a.png,a,2016\n/b.png\n")) == 2


def test_rows_without_a_value_are_passed_over_and_counted(read: Any, passed_over: Counter[str]) -> None:
    assert len(read("list.csv", b"uri,id,label\n/a.png,a,2016\n,,\n,,")) == 1
    assert passed_over == {"blank_line": 2}


@pytest.mark.parametrize("away", [False, True])
def test_a_manifest_that_cannot_be_read_to_its_end_fails_unless_storage_is_away(
    away: bool, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> Any:
        raise StorageUnavailableError("Input/output error")

    monkeypatch.setattr(TranslatedStream, "read", fail)
    if away:
        monkeypatch.setattr(LocalStore, "names", fail)

    with pytest.raises(StorageUnavailableError if away else SourceError, match="Input/output error"):
        read("list.jsonl", JSONL)


def test_a_manifest_on_s3_is_read(s3_bucket: Any, storage: Storage) -> None:
    uri = s3_bucket.put("lists/a.jsonl", JSONL)

    assert list(read_manifest(uri, "s3://bucket/lists", storage, BytesIO(), Counter())) == ITEMS


@pytest.mark.parametrize("content", [b"\n" + JSONL, b'  {"uri": "/a.png"}\n'])
def test_standard_input_that_begins_with_space_is_still_jsonl(content: bytes, read: Any) -> None:
    assert read("-", content)[0].uri == "/a.png"


@pytest.mark.parametrize("place", ["in a block", "behind a blank line", "in a last line without newline"])
def test_other_fields_are_metadata_byte_by_byte(place: str, read: Any) -> None:
    note = b'{"by": "J\\u00f6rg", "n": [1e2, 18446744073709551616]}'
    line = b'{"page": [1], "price": 1.50, "uri": "/a.png", "note": ' + note + b"}"
    content = {"in a block": line + b"\n", "behind a blank line": b"\n" + line + b"\n"}.get(place, line)

    assert read("list.jsonl", b'{"uri": "/b.png"}\n' + content) == [
        Item("/b.png", "/b.png"),
        Item("/a.png", "/a.png", metadata=msgspec.Raw(b'{"price":1.50,"note":' + note + b"}")),
    ]


def test_other_columns_of_a_csv_are_metadata_as_text(read: Any) -> None:
    assert read("list.csv", b"colour,uri,page,n\nred,/a.png,3,07\n,/b.png,,\n") == [
        Item("/a.png", "/a.png", metadata=msgspec.Raw(b'{"colour":"red","n":"07"}')),
        Item("/b.png", "/b.png"),
    ]


def test_a_region_with_nan_has_metadata_too(read: Any) -> None:
    (item,) = read("list.jsonl", b'{"uri": "/a.png", "region": [NaN, 1], "colour": "red", "x": NaN}\n')

    assert item.region.fault
    assert bytes(item.metadata) == b'{"colour":"red","x":null}'


@pytest.mark.parametrize(
    ("name", "before", "after"),
    [("list.jsonl", b'{"uri": "a", "long": "', b'"}\n'), ("list.csv", b"uri,long\na,", b"\n")],
)
def test_metadata_that_is_too_long_is_refused(name: str, before: bytes, after: bytes, read: Any) -> None:
    fits = MAX_METADATA_BYTES - len(b'{"long":""}')

    (item,) = read(name, before + b"x" * fits + after)

    assert len(item.metadata) == MAX_METADATA_BYTES
    with pytest.raises(
        SourceError, match=r"line [12] has more than 16,384 bytes in its further columns \(long"
    ):
        read(name, before + b"x" * (fits + 1) + after)


def test_a_csv_field_may_hold_commas_quotes_and_newlines(read: Any) -> None:
    assert read("list.csv", b'uri,label\n"/a,b.png","say ""2016""\nand 2017"\n') == [
        Item("/a,b.png", "/a,b.png", 'say "2016"\nand 2017')
    ]


def test_blank_lines_are_passed_over_and_counted(read: Any, passed_over: Counter[str]) -> None:
    assert len(read("list.jsonl", b'\n{"uri": "/a.png"}\n  \n{"uri": "/b.png"}\n\n')) == 2
    assert passed_over == {"blank_line": 3}


def test_blank_lines_of_a_csv_are_passed_over(read: Any) -> None:
    assert len(read("list.csv", b"\n\nuri\n\n/a.png\n\n/b.png\n")) == 2


@pytest.mark.parametrize(
    ("uri", "base", "expected"),
    [
        ("a.png", "/data", "/data/a.png"),
        ("./a.png", "/data", "/data/a.png"),
        ("x/a b.png", "/", "/x/a b.png"),
        ("/elsewhere/a.png", "/data", "/elsewhere/a.png"),
        ("a.png", "s3://bucket/lists", "s3://bucket/lists/a.png"),
        ("s3://other/a.png", "/data", "s3://other/a.png"),
        ("https://host/a.png", "/data", "https://host/a.png"),
    ],
)
def test_relative_uris_start_from_the_manifest(uri: str, base: str, expected: str, read: Any) -> None:
    (item,) = read("list.csv", f"uri\n{uri}\n".encode(), base)

    assert (item.id, item.uri) == (uri, expected)


@pytest.mark.parametrize(
    ("name", "content", "lines"),
    [
        ("list.jsonl", b'{"uri":"/a","id":"x"}\n\n{"uri":"/b"}\n{"uri":"/c","id":"x"}\n', "1 and 4"),
        ("list.csv", b"uri,id\n/a,x\n/b,y\n/c,x\n", "2 and 4"),
        ("list.csv", b"uri\n/a\n/a\n", "2 and 3"),
        ("list.jsonl", b'{"uri":"/a"}\n{"uri":"/b","id":"/a"}\n', "1 and 2"),
    ],
)
def test_an_id_that_is_given_twice_is_an_error_that_names_both_lines(
    name: str, content: bytes, lines: str, read: Any
) -> None:
    with pytest.raises(SourceError, match=f"lines {lines} have the same id"):
        read(name, content)


def many(count: int, **others: str) -> bytes:
    """Return JSONL of this many lines, which span several read blocks; `line_7` replaces a line."""
    lines = [f'{{"uri": "/crops/{number:07d}.png"}}' for number in range(1, count + 1)]
    for name, text in others.items():
        lines[int(name.removeprefix("line_")) - 1] = text
    return "\n".join([*lines, ""]).encode()


def test_every_line_of_a_long_manifest_is_an_item_in_its_order(read: Any) -> None:
    items = read("list.jsonl", many(10_000))

    assert [item.id for item in items] == [f"/crops/{number:07d}.png" for number in range(1, 10_001)]


@pytest.mark.parametrize("first", [3, 900, 1_024, 1_025, 5_000])
def test_an_id_given_twice_is_found_however_far_apart_its_lines_are(first: int, read: Any) -> None:
    content = many(9_000, **{f"line_{first}": '{"uri": "/x"}', "line_8999": '{"uri": "/y", "id": "/x"}'})

    with pytest.raises(SourceError, match=f"lines {first} and 8999 have the same id '/x'"):
        read("list.jsonl", content)


def test_numbers_count_blank_lines_far_into_a_manifest(read: Any, passed_over: Counter[str]) -> None:
    content = many(6_000, line_2000="", line_4000="", line_5999='{"uri": 5}')

    with pytest.raises(SourceError, match=r"list\.jsonl line 5999"):
        read("list.jsonl", content)
    assert passed_over == {"blank_line": 2}


def test_ids_that_differ_behind_a_nul_are_two_ids(read: Any) -> None:
    content = rb"""{"uri": "/a", "id": "x\u0000a"}
{"uri": "/b", "id": "x\u0000b"}
"""

    assert [item.id for item in read("list.jsonl", content)] == ["x\0a", "x\0b"]


@pytest.mark.parametrize(
    "faulty",
    [
        b"not json",
        b"[]",
        b"{}",
        b'{"uri": 5}',
        b'{"uri": ""}',
        b'{"uri": "/a", "id": ""}',
        b'{"uri": "%s"}' % (b"x" * 4097),
        b'{"uri": "/\xff.png"}',
        b'{"uri": "\\ud800"}',
        b'{"uri": "/a"} {"uri": "/b"}',
        b'{"uri":\n"/a"}',
    ],
)
def test_a_faulty_line_of_jsonl_is_named_by_its_number(faulty: bytes, read: Any) -> None:
    with pytest.raises(SourceError, match=r"list\.jsonl line 2"):
        read("list.jsonl", b'{"uri": "/a.png"}\n' + faulty + b"\n")


@pytest.mark.parametrize(
    ("content", "number"),
    [
        (b"uri,id\n/a,1\n,2\n", 3),
        (b"uri\n/a\n/\xff.png\n", 3),
        (b'uri\n/a\n"/b\n', 3),
        (b'uri\n/a\n"/b"c\n/d\n', 3),
        (b"uri\n/a\n" + b"x" * 4097 + b"\n", 3),
    ],
)
def test_a_faulty_line_of_csv_is_named_by_its_number(content: bytes, number: int, read: Any) -> None:
    with pytest.raises(SourceError, match=rf"list\.csv line {number}"):
        read("list.csv", content)


def test_standard_input_is_called_by_its_name(read: Any) -> None:
    with pytest.raises(SourceError, match="standard input line 1"):
        read("-", b'{"id": "a"}\n')


@pytest.mark.parametrize("content", [b"", b"id,label\na,b\n", b"/a.png\n/b.png\n"])
def test_a_csv_must_name_its_columns(content: bytes, read: Any) -> None:
    with pytest.raises(SourceError, match="the first line must name the columns, `uri` among them"):
        read("list.csv", content)


@pytest.mark.parametrize(("before", "number"), [(b"", 1), (b'{"uri": "/a"}\n', 2)])
def test_a_line_that_is_too_long_is_refused_and_not_held(before: bytes, number: int, read: Any) -> None:
    with pytest.raises(SourceError, match=f"line {number} is longer than {MAX_LINE_BYTES:,} bytes"):
        read("list.jsonl", before + b"\0" * (MAX_LINE_BYTES + 1))


def test_a_manifest_that_is_not_there_is_an_error_of_the_source(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="manifest cannot be read"):
        list(read_manifest(str(tmp_path / "none.csv"), "/", storage, BytesIO(), Counter()))


REGIONS = (
    b'{"uri": "a.png", "region": [1, 2, 30, 40]}\n'
    b'{"uri": "a.png", "region": [[0, 0], [0.5, 0], [1, 1]], "unit": "rel", "label": "x"}\n'
    b'{"uri": "b.pdf", "page": 2, "region": [1, 2, 30, 40], "id": "total"}\n'
    b'{"uri": "b.pdf", "page": 2, "region": [1, 2, 30, 40]}\n'
    b'{"uri": "a.png", "region": [5, 5, 9, 9]}\n'
    b'{"uri": "whole.png", "region": null, "unit": 7, "page": "iv"}\n'
)
REGIONS_CSV = (
    b"uri,region,unit,label,page,id\n"
    b'a.png,"[1, 2, 30, 40]",,,,\n'
    b'a.png,"[[0, 0], [0.5, 0], [1, 1]]",rel,x,,\n'
    b'b.pdf,"[1, 2, 30, 40]",,,2,total\n'
    b'b.pdf,"[1, 2, 30, 40]",px,,2,\n'
    b'a.png,"[5, 5, 9, 9]",,,,\n'
    b"whole.png,,7,,iv,\n"
)


@pytest.mark.parametrize(("name", "content"), [("list.jsonl", REGIONS), ("list.csv", REGIONS_CSV)])
def test_a_line_with_a_region_is_an_item_that_is_numbered_on_its_page(
    name: str, content: bytes, read: Any
) -> None:
    box = region_of([1, 2, 30, 40])

    assert read(name, content) == [
        Item("a.png#r=1", "/data/a.png", region=box),
        Item("a.png#r=2", "/data/a.png", "x", region=region_of([[0, 0], [0.5, 0], [1, 1]], "rel")),
        Item("total", "/data/b.pdf", page=2, region=box),
        Item("b.pdf#page=2&r=2", "/data/b.pdf", page=2, region=box),
        # Its page was left, and is numbered on.
        Item("a.png#r=3", "/data/a.png", region=region_of([5, 5, 9, 9])),
        Item("whole.png", "/data/whole.png"),
    ]


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ('"region": "Bavaria"', "a region is"),
        ('"region": {}', "a region is"),
        ('"region": [1, 2, NaN, 4]', "finite"),
        ('"region": [1, 2, 1e999, 4]', "finite"),
        ('"region": [1, 2, 1, 4]', "empty"),
        ('"region": [1, 2, 3, 4], "unit": "mm"', "'px' or 'rel', not 'mm'"),
        ('"region": [1, 2, 3, 4], "unit": "rel"', "0..1"),
        ('"region": [1, 2, 3, 4], "page": 0', "from 1 to"),
        ('"region": [1, 2, 3, 4], "page": "iv"', "from 1 to"),
        (f'"region": {[[one, one * one + 0.123456789012] for one in range(10 * MAX_POINTS)]}', "corners"),
    ],
    ids=lambda value: value[:40],
)
def test_a_malformed_region_costs_its_own_item_only(fields: str, said: str, read: Any) -> None:
    bad, good = read("list.jsonl", f'{{"uri": "/a.png", {fields}}}\n{{"uri": "/b.png"}}'.encode())

    assert bad.id == "/a.png#r=1"
    assert said in bad.region.fault
    assert good == Item("/b.png", "/b.png")


def test_large_regions_are_not_held_by_the_thousand(read: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("producer.sources.manifest.BLOCK_REGION_BYTES", 1_000)
    held: list[int] = []
    monkeypatch.setattr(SeenIds, "add", lambda _, entries: held.append(len(entries)) or {})

    read("list.jsonl", b'{"uri": "a.png", "region": [10, 20, 300, 400]}\n' * 1_000)

    assert sum(held) == 1_000
    assert max(held) <= 2 * STEP_ENTRIES
