"""Airflow 3: submit a folder or prefix each night, and wait for it without holding a worker slot."""

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

from airflow.exceptions import AirflowException
from airflow.sdk import DAG, BaseOperator
from airflow.triggers.base import BaseTrigger, TriggerEvent

from trace_ocr import AsyncClient, Client

POLL_SECONDS = 15.0
"""Seconds between two looks at a job: nights take hours."""


class TraceOcrOperator(BaseOperator):
    """Reads a source into a workspace. A retry continues the job of the same workspace.

    Args:
        source, output: as `Client.submit`; may hold templates
        options: further arguments of `Client.submit`, such as kind, fail_if or notify
    """

    template_fields = ("source", "output")

    def __init__(self, *, source: str, output: str, options: dict[str, Any] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.source, self.output, self.options = source, output, options or {}

    def execute(self, context: dict[str, Any]) -> None:
        """Submit, and give the slot back until the job has ended."""
        metadata = {"airflow_run": context["run_id"][:512]}
        with Client(os.environ["TRACE_OCR_URL"], os.environ.get("TRACE_OCR_KEY")) as client:
            job = client.submit(self.source, self.output, tags=["airflow"], metadata=metadata, **self.options)
        self.defer(trigger=JobTrigger(job.id), method_name="finish", timeout=timedelta(hours=12))

    def finish(self, context: dict[str, Any], event: dict[str, Any]) -> str:  # noqa: ARG002 - Airflow's call
        """Return the workspace of a job that is complete and of good quality, for the tasks that follow."""
        if event["status"] != "completed" or event["broken_rules"]:
            reasons = "; ".join(event["broken_rules"]) or event["error"]
            raise AirflowException(f"job {event['id']} is {event['status']}: {reasons}")
        return str(event["workspace"])


class JobTrigger(BaseTrigger):
    """Fires once a job has ended; runs in Airflow's triggerer."""

    def __init__(self, job_id: str, poll_seconds: float = POLL_SECONDS):
        super().__init__()
        self.job_id, self.poll_seconds = job_id, poll_seconds

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return how the triggerer makes this again, which must be able to import this file."""
        name = f"{type(self).__module__}.{type(self).__qualname__}"
        return name, {"job_id": self.job_id, "poll_seconds": self.poll_seconds}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event."""
        async with AsyncClient(os.environ["TRACE_OCR_URL"], os.environ.get("TRACE_OCR_KEY")) as client:
            job = client.job(self.job_id)
            while not (status := await job.status()).ended:
                await asyncio.sleep(self.poll_seconds)
            summary = await job.summary() if status.status == "completed" else {}
        yield TriggerEvent(
            {
                "id": status.id,
                "status": str(status.status),
                "workspace": status.workspace,
                "error": status.error,
                "broken_rules": summary.get("broken_rules", []),
            }
        )


with DAG(
    "trace_ocr_night", schedule="15 0 * * *", start_date=datetime(2026, 1, 1, tzinfo=UTC), catchup=False
):
    TraceOcrOperator(
        task_id="read",
        source="s3://scans/{{ ds }}/",
        output="s3://results/{{ ds }}/",
        options={"fail_if": ["errors>5%"]},
        retries=3,
    )
