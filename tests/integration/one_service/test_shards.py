"""The same crops as a folder and packed, on disk and in a bucket: the same bytes come out."""

import tarfile
import zipfile
from pathlib import Path

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.service import Service
from trace_ocr import Client

CHUNK = 48
"""Crops of a chunk: each shard is read by several."""


REMOTE = ("crops.tar", "crops.tar.gz", "crops.zip", "crops.parquet")
"""What is read from a bucket too; an LMDB is a local file."""


@pytest.fixture(scope="module")
def crops(samples: Path) -> list[Path]:
    """The sample crops in the order of their names."""
    return sorted((samples / "crops").iterdir())


@pytest.fixture(scope="module")
def packed(service: Service, crops: list[Path]) -> Path:
    """A folder of the sample crops, packed in each way."""
    folder = service.folder("packed")
    folder.mkdir()
    for name, mode in (("crops.tar", "w"), ("crops.tar.gz", "w:gz")):
        with tarfile.open(folder / name, mode) as archive:  # type: ignore[call-overload]
            for path in crops:
                archive.add(path, path.name)
    with zipfile.ZipFile(folder / "crops.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for path in crops:
            archive.write(path, path.name)
    rows = [{"bytes": path.read_bytes(), "path": path.name} for path in crops]
    columns = {"id": [path.name for path in crops], "image": rows}
    pq.write_table(pa.table(columns), folder / "crops.parquet", row_group_size=50)
    with (
        lmdb.open(str(folder / "crops.mdb"), subdir=False, lock=False, map_size=1 << 24) as file,
        file.begin(write=True) as change,
    ):
        change.put(b"num-samples", str(len(crops)).encode())
        for number, path in enumerate(crops, 1):
            change.put(_number(number), path.read_bytes())
    return folder


def test_the_results_of_shards_are_byte_for_byte_those_of_the_same_folder(
    service: Service, client: Client, crops: list[Path], packed: Path
) -> None:
    below = f"s3://{service.bucket.name}/packed"
    service.bucket.upload(packed, "packed/")
    (service.root / "all").mkdir()
    for path in crops:
        (service.root / "all" / path.name).write_bytes(path.read_bytes())
    sources = [str(service.root / "all"), *map(str, sorted(packed.iterdir()))]
    sources += [f"{below}/{name}" for name in REMOTE]

    jobs = [
        # Rows have numbers; names of files are in a column.
        client.submit(
            source, service.folder(), chunk_size=CHUNK, **({"id_column": "id"} if "parquet" in source else {})
        )
        for source in sources
    ]
    for job in jobs:
        job.wait(timeout=200)

    first, *others = [Path(str(job.status().workspace), "results.jsonl").read_bytes() for job in jobs]
    assert first.count(b"\n") == len(crops)
    found = dict(zip(sources[1:], others, strict=True))
    # An LMDB has numbers in place of names.
    of_lmdb = str(packed / "crops.mdb")
    for number, path in enumerate(crops, 1):
        found[of_lmdb] = found[of_lmdb].replace(_number(number), path.name.encode())
    differing = {source: _difference(first, result) for source, result in found.items() if result != first}
    assert differing == {}


def _number(number: int) -> bytes:
    """Return the key of an image in an LMDB."""
    return b"image-%09d" % number


def _difference(expected: bytes, found: bytes) -> list[tuple[bytes, bytes]]:
    return [
        pair for pair in zip(expected.splitlines(), found.splitlines(), strict=False) if pair[0] != pair[1]
    ][:2]
