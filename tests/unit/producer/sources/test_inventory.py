"""S3 Inventory reports as sources: all three formats, versions, and reports that are not whole."""

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest

from contract.errors import SourceError
from contract.source import Source
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from producer.sources.base import Listing
from producer.sources.listing import identify_source, list_source
from tests.inventory_reports import TIME, Rows, as_csv, as_orc, as_parquet, report, row

MANIFEST = "inventory/crops/daily/2026-11-22T01-00Z/manifest.json"
DATA = "inventory/crops/daily/data/"

KEYS = ("scans/b+c d.png", "a/ü 漢.png", "a/1.png")
"""In the report's order, which is not that of keys."""

PASSED_OVER = {"deleted": 1, "older_version": 1, "placeholder": 1, "hidden": 1, "other_extension": 1}


def versions() -> Rows:
    """What a report of a versioned bucket lists."""
    return [
        *(row("crops", key) for key in (*KEYS, "a/2.txt", ".trash/1.png", "a/")),
        row("crops", "a/1.png", version_id="v0", is_latest=False),
        row("crops", "a/gone.png", is_delete_marker=True, size=None, e_tag=None),
    ]


def as_parquet_of_bytes(rows: Rows) -> bytes:
    """As writers that do not mark their columns as text."""
    return as_parquet([{**row, "key": row["key"].encode()} for row in rows])


WRITERS: dict[str, tuple[str, Callable[[Rows], bytes]]] = {
    "csv": ("CSV", as_csv),
    "orc": ("ORC", as_orc),
    "parquet": ("Parquet", as_parquet),
    "parquet of bytes": ("Parquet", as_parquet_of_bytes),
}


def stored(bucket: Any, form: str, *parts: bytes, **given: str) -> Source:
    """Given a report in the destination bucket; return the source."""
    files = {f"{DATA}{number}": data for number, data in enumerate(parts)}
    for key, data in files.items():
        bucket.put(key, data)
    return identify_source(bucket.put(MANIFEST, json.dumps(report(form, files, **given)).encode()))


def listed(source: Source, storage: Storage, roots: AllowedRoots | None = None) -> Listing:
    return list_source(source, storage, BytesIO(), roots=roots)


@pytest.mark.parametrize("name", WRITERS)
def test_the_newest_versions_are_items_in_the_reports_order(
    name: str, s3_bucket: Any, storage: Storage
) -> None:
    form, write = WRITERS[name]
    listing = listed(stored(s3_bucket, form, write(versions()[:2]), write(versions()[2:])), storage)

    items = list(listing)

    assert [(item.id, item.uri) for item in items] == [(key, f"s3://crops/{key}") for key in KEYS]
    assert listing.passed_over == PASSED_OVER


@pytest.mark.parametrize("name", WRITERS)
@pytest.mark.parametrize(
    ("changed", "fingerprint"),
    [("etag", "abc+3"), ("mtime+size", f"{int(TIME.timestamp()) * 10**9}+3")],
)
def test_a_report_tells_what_has_changed_without_a_request_for_each_object(
    name: str, changed: Any, fingerprint: str, s3_bucket: Any, storage: Storage
) -> None:
    form, write = WRITERS[name]
    source = stored(s3_bucket, form, write(versions())).model_copy(update={"changed": changed})

    assert {item.fingerprint for item in listed(source, storage)} == {fingerprint}


def test_globs_choose_by_whole_uris(s3_bucket: Any, storage: Storage) -> None:
    from producer.sources.selection import selection_of

    selection = selection_of(["s3://crops/a/**"], [], None)
    source = stored(s3_bucket, "CSV", as_csv(versions())).model_copy(update={"selection": selection})

    assert [item.id for item in listed(source, storage)] == ["a/ü 漢.png", "a/1.png"]


@pytest.mark.parametrize("folder", ["daily/data", "daily/2026-11-22T01-00Z"], ids=["as on S3", "beside"])
def test_a_downloaded_report_needs_no_s3(folder: str, tmp_path: Path, storage: Storage) -> None:
    data, path = as_csv(versions()), tmp_path / "daily/2026-11-22T01-00Z/manifest.json"
    for place in (path, tmp_path / folder / "x.csv.gz"):
        place.parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / folder / "x.csv.gz").write_bytes(data)
    path.write_text(json.dumps(report("CSV", {f"{DATA}x.csv.gz": data})))

    source = identify_source(str(path))

    assert source.type == "inventory"
    assert [item.id for item in listed(source, storage)] == list(KEYS)


def test_another_manifest_json_of_this_machine_is_no_report(tmp_path: Path) -> None:
    from contract.errors import UsageError

    path = tmp_path / "manifest.json"
    path.write_text('{"name": "an extension of a browser"}')

    with pytest.raises(UsageError, match=r"is not a folder, .*an S3 Inventory report"):
        identify_source(str(path))


def test_a_data_file_that_is_gone_is_named(s3_bucket: Any, storage: Storage) -> None:
    source = stored(s3_bucket, "CSV", as_csv(versions()), as_csv(versions()))
    s3_bucket.client.delete_object(Bucket="bucket", Key=f"{DATA}1")

    with pytest.raises(
        SourceError, match=f"data file s3://bucket/{DATA}1 cannot be read: there is no object"
    ):
        list(listed(source, storage))


@pytest.mark.parametrize("name", WRITERS)
def test_a_data_file_that_is_damaged_is_named_even_if_its_checksum_is_right(
    name: str, s3_bucket: Any, storage: Storage
) -> None:
    form, write = WRITERS[name]
    data = write(versions())

    with pytest.raises(SourceError, match=f"s3://bucket/{DATA}0 is (cut off or )?damaged"):
        list(listed(stored(s3_bucket, form, data[: len(data) // 2]), storage))


def test_a_data_file_that_was_replaced_is_refused_before_its_first_item(
    s3_bucket: Any, storage: Storage
) -> None:
    source = stored(s3_bucket, "CSV", as_csv(versions()))
    s3_bucket.put(f"{DATA}0", as_csv(versions()[:1]))

    with pytest.raises(SourceError, match="is not the file that the report lists"):
        next(iter(listed(source, storage)))


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ('"crops","a.png"', "row 1 has 2 columns, and the report's fileSchema 9"),
        (f'"crops","{"a" * 70_000}.png"', "row 1 is longer than 65,536 characters"),
        ('"crops","%FF.png","v","true","false","3","","",""', "row 1: 'utf-8' codec"),
        ('"crops","a.png","v","true","false","many","","",""', "row 1: invalid literal for int"),
        ('"crops","a.png"x,"v"', "row 1: .* expected after"),
        ("\ud800", "is cut off or damaged"),
    ],
)
def test_a_malformed_row_is_told_with_its_file_and_number(
    row: str, said: str, s3_bucket: Any, storage: Storage
) -> None:
    source = stored(s3_bucket, "CSV", row.encode("utf-8", "surrogatepass") + b"\n")

    with pytest.raises(SourceError, match=f"s3://bucket/{DATA}0 {said}"):
        list(listed(source, storage))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"{}", "missing required field `sourceBucket`"),
        (b"[1", "not the manifest of an S3 Inventory report"),
        (json.dumps(report("Avro", {})).encode(), "Invalid enum value 'Avro'"),
        (
            json.dumps({**report("CSV", {}), "files": [{"key": "x"}, {"key": "x"}]}).encode(),
            "lists a data file twice",
        ),
    ],
)
def test_what_is_no_report_is_told(content: bytes, said: str, s3_bucket: Any, storage: Storage) -> None:
    source = identify_source(s3_bucket.put(MANIFEST, content))

    with pytest.raises(SourceError, match=said):
        list(listed(source, storage))


def test_a_report_without_keys_is_told(s3_bucket: Any, storage: Storage) -> None:
    source = stored(s3_bucket, "CSV", as_csv(versions()), schema="Bucket, Size")

    with pytest.raises(SourceError, match="has no column Key: its fileSchema is 'Bucket, Size'"):
        list(listed(source, storage))

    rows = [{"name": "a.png"}]
    with pytest.raises(SourceError, match="has no column `key`"):
        list(listed(stored(s3_bucket, "Parquet", as_parquet(rows)), storage))


def test_columns_without_pyarrow_say_what_to_install(
    s3_bucket: Any, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = stored(s3_bucket, "ORC", as_orc(versions()))
    monkeypatch.setattr("contract.extras.importlib.util.find_spec", lambda name: None)

    with pytest.raises(SourceError, match=r"trace-ocr-batch\[columns\]"):
        list(listed(source, storage))


def test_a_report_whose_data_files_lie_outside_the_allowed_roots_is_refused(
    s3_bucket: Any, storage: Storage
) -> None:
    source = stored(s3_bucket, "CSV", as_csv(versions()))

    with pytest.raises(SourceError, match=f"data file s3://bucket/{DATA}0 may not be read"):
        list(listed(source, storage, AllowedRoots(("s3://bucket/inventory/crops/daily/2026-11-22T01-00Z",))))
