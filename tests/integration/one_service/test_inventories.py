"""Jobs over what an S3 Inventory report lists, from its submission to the results."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.integration.service import Service, lines
from tests.inventory_reports import Rows, as_csv, as_parquet, report, row
from trace_ocr import Client, JobHandle

WRITERS: dict[str, Callable[[Rows], bytes]] = {"CSV": as_csv, "Parquet": as_parquet}


@pytest.mark.parametrize("form", WRITERS)
def test_a_job_reads_the_newest_versions_that_a_report_lists(
    form: str, service: Service, client: Client, night: JobHandle, source: Path
) -> None:
    # given a report of a versioned bucket, in two data files, of the crops that a job has read from a folder
    bucket, prefix = service.bucket, f"inventory-{form}"
    bucket.upload(source, f"{prefix}/crops/")
    keys = [f"{prefix}/crops/{path.name}" for path in sorted(source.iterdir())]
    newest = [row(bucket.name, key) for key in keys]
    others = [row(bucket.name, keys[0], is_latest=False), row(bucket.name, f"{prefix}/notes.txt")]
    data = [WRITERS[form](rows) for rows in (newest[:17] + others, newest[17:])]
    files = {f"{prefix}/daily/data/{number}": part for number, part in enumerate(data)}
    manifest = f"{prefix}/daily/2026-11-22T01-00Z/manifest.json"
    listed = report(form, files, source=bucket.name, bucket=bucket.name)
    for key, content in {**files, manifest: json.dumps(listed).encode()}.items():
        bucket.client.put_object(Bucket=bucket.name, Key=key, Body=content)

    job = client.submit(f"s3://{bucket.name}/{manifest}", service.folder(), chunk_size=7)
    job.wait(timeout=120)

    expected, found = (_results(each) for each in (night, job))
    assert found == {f"{prefix}/crops/{name}": read for name, read in expected.items()}
    assert list(found) == keys[: len(found)]
    plan = json.loads(Path(str(job.status().workspace), "job.json").read_bytes())["plan"]
    assert plan["passed_over"] == {"older_version": 1, "other_extension": 1}


def _results(job: JobHandle) -> dict[object, tuple[object, object]]:
    """Return the text and the confidence of each id, in order."""
    found = lines(Path(str(job.status().workspace), "results.jsonl").read_bytes())
    return {line["id"]: (line["value"], line["confidence"]) for line in found}
