"""Prefect 3: a flow that reads a folder or prefix, and fails if the quality is low."""

import os
import sys
from typing import Any

from prefect import flow, task

from trace_ocr import Client


@task(retries=3, retry_delay_seconds=60)
def read(source: str, output: str) -> dict[str, Any]:
    """Return the summary of the complete job. A retry continues the job of the same workspace."""
    with Client(os.environ["TRACE_OCR_URL"], os.environ.get("TRACE_OCR_KEY")) as client:
        job = client.submit(source, output, tags=["prefect"], fail_if=["errors>5%", "confidence<0.5"])
        job.wait(progress=False)
        return job.summary()


@flow
def night(source: str, output: str) -> dict[str, int]:
    """Return the counts of a night."""
    summary = read(source, output)
    if summary["broken_rules"]:
        raise ValueError("; ".join(summary["broken_rules"]))
    return dict(summary["request_counts"])


if __name__ == "__main__":
    night(*sys.argv[1:])
