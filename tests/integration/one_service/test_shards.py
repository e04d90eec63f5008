"""The same crops as a folder and packed, on disk and in a bucket: the same bytes come out."""

import tarfile
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.integration.service import Service
from trace_ocr import Client

CHUNK = 48
"""Crops of a chunk: each shard is read by several."""


@pytest.fixture(scope="module")
def packed(service: Service, samples: Path) -> Path:
    """A folder of the sample crops, packed in each way."""
    folder = service.folder("packed")
    folder.mkdir()
    crops = sorted((samples / "crops").iterdir())
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
    return folder


def test_the_results_of_shards_are_byte_for_byte_those_of_the_same_folder(
    service: Service, client: Client, samples: Path, packed: Path
) -> None:
    service.bucket.upload(packed, "packed/")
    below = f"s3://{service.bucket.name}/packed"
    (service.root / "all").mkdir()
    for path in (samples / "crops").iterdir():
        (service.root / "all" / path.name).write_bytes(path.read_bytes())
    sources = [str(service.root / "all"), *map(str, sorted(packed.iterdir()))]
    sources += [f"{below}/crops.tar", f"{below}/crops.tar.gz", f"{below}/crops.zip"]

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
    assert first.count(b"\n") == len(list((samples / "crops").iterdir()))
    differing = {
        source: _difference(first, result)
        for source, result in zip(sources[1:], others, strict=True)
        if result != first
    }
    assert differing == {}


def _difference(expected: bytes, found: bytes) -> list[tuple[bytes, bytes]]:
    return [
        pair for pair in zip(expected.splitlines(), found.splitlines(), strict=False) if pair[0] != pair[1]
    ][:2]
