"""What a worker counts: items once, messages by their end, and the time and room that reading took."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from celery.exceptions import Reject
from prometheus_client.parser import text_string_to_metric_families

from contract.broker.ledger import Ledger
from contract.broker.uploads import Ticket, Upload, Uploads
from contract.errors import InterruptedChunkError, JobError, StorageUnavailableError, UnfitWorkerError
from contract.job import Job
from contract.lines import RecognitionLine
from contract.records import ChunkMessage, Nudge
from contract.workspace import Workspace
from worker.app import tasks
from worker.app.tasks import run_message, run_nudge
from worker.jobs.chunk import WorkerContext, read_chunk
from worker.monitoring.device import DeviceUse
from worker.monitoring.metrics import WorkerMetrics
from worker.pipeline.run import Timings

Samples = dict[tuple[str, ...], float]


def samples_of(metrics: WorkerMetrics, name: str) -> Samples:
    """Return what was counted under one name, by its labels' values in the labels' alphabetical order."""
    return {
        tuple(value for _, value in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(metrics.exposition())
        for sample in family.samples
        if sample.name == name and sample.value
    }


class FakeDevice:
    """A device whose use is laid down."""

    def __init__(self, use: DeviceUse | None = None) -> None:
        self._use = use

    def use(self) -> DeviceUse | None:
        return self._use


@pytest.fixture
def metrics() -> WorkerMetrics:
    return WorkerMetrics(FakeDevice())  # type: ignore[arg-type]


class TestText:
    def test_two_processes_worth_of_metrics_share_nothing(self, metrics: WorkerMetrics) -> None:
        other = WorkerMetrics(FakeDevice())  # type: ignore[arg-type]
        metrics.chunk("recognition", "done")

        assert samples_of(metrics, "trace_ocr_chunks_total") == {("recognition", "done"): 1.0}
        assert samples_of(other, "trace_ocr_chunks_total") == {}

    def test_the_process_tells_its_memory_and_its_time(self, metrics: WorkerMetrics) -> None:
        assert samples_of(metrics, "process_resident_memory_bytes")[()] > 0
        assert () in samples_of(metrics, "process_cpu_seconds_total")

    def test_a_run_tells_its_stages_and_how_full_its_batches_were(self, metrics: WorkerMetrics) -> None:
        for _ in range(2):
            metrics.read("upload", Timings({"fetch": 0.25, "forward": 0.5}, batches=2, pieces=12), 8)

        assert samples_of(metrics, "trace_ocr_stage_seconds_total") == {
            ("upload", "fetch"): 0.5,
            ("upload", "forward"): 1.0,
        }
        counts = [
            samples_of(metrics, f"trace_ocr_{name}_total")[("upload",)]
            for name in ("batches", "batch_pieces", "batch_places")
        ]
        assert counts == [4.0, 24.0, 32.0]

    def test_requests_to_s3_and_their_retries(self, metrics: WorkerMetrics) -> None:
        metrics.s3("GetObject", "ok", 0)
        metrics.s3("GetObject", "error", 5)

        assert samples_of(metrics, "trace_ocr_s3_requests_total") == {
            ("GetObject", "ok"): 1.0,
            ("GetObject", "error"): 1.0,
        }
        assert samples_of(metrics, "trace_ocr_s3_retries_total") == {("GetObject",): 5.0}

    def test_models_that_were_loaded(self, metrics: WorkerMetrics) -> None:
        metrics.model_loaded("parseq", 2.5)

        assert samples_of(metrics, "trace_ocr_model_load_seconds") == {("parseq",): 2.5}

    @pytest.mark.parametrize("utilisation", [0.5, None])
    def test_a_gpu_tells_its_use(self, utilisation: float | None) -> None:
        metrics = WorkerMetrics(FakeDevice(DeviceUse(10, 80, utilisation)))  # type: ignore[arg-type]

        assert samples_of(metrics, "trace_ocr_device_memory_bytes") == {("used",): 10.0, ("total",): 80.0}
        told = samples_of(metrics, "trace_ocr_device_utilisation_ratio")
        assert told == ({} if utilisation is None else {(): utilisation})

    def test_the_cpu_tells_none(self, metrics: WorkerMetrics) -> None:
        assert "trace_ocr_device" not in metrics.exposition()


class TestItems:
    def test_a_chunk_counts_its_items_its_batches_and_its_stages(
        self, message: ChunkMessage, context: WorkerContext, job: Job
    ) -> None:
        Path(job.source.uri, "20.png").write_bytes(b"no image")

        read_chunk(message, context, lambda: None)

        metrics = context.metrics
        assert samples_of(metrics, "trace_ocr_items_total") == {
            ("recognition", "completed"): 1.0,
            ("recognition", "failed"): 1.0,
        }
        assert samples_of(metrics, "trace_ocr_batch_pieces_total") == {("recognition",): 1.0}
        assert samples_of(metrics, "trace_ocr_batch_places_total") == {("recognition",): 4.0}
        stages = {stage for _, stage in samples_of(metrics, "trace_ocr_stage_seconds_total")}
        assert {"fetch", "decode", "preprocess", "forward", "postprocess", "write"} <= stages

    def test_readings_are_counted_by_their_confidence(self, metrics: WorkerMetrics) -> None:
        read = [
            RecognitionLine(name, name, "text", confidence) for name, confidence in (("a", 0.5), ("b", 1.0))
        ]
        metrics.readings("recognition", [*read, RecognitionLine("c", "c", "", 0.02)])
        metrics.readings("detection", [])

        buckets = samples_of(metrics, "trace_ocr_confidence_bucket")
        assert buckets["recognition", "0.05"] == buckets["recognition", "0.5"] == 1
        assert (buckets["recognition", "0.55"], buckets["recognition", "+Inf"]) == (2, 3)
        assert samples_of(metrics, "trace_ocr_confidence_sum") == {("recognition",): 1.52}
        assert samples_of(metrics, "trace_ocr_empty_items_total") == {("recognition",): 1}
        assert samples_of(metrics, "trace_ocr_characters_total") == {("recognition",): 8}

    def test_items_whose_part_another_worker_wrote_first_are_not_counted(
        self,
        message: ChunkMessage,
        context: WorkerContext,
        workspace: Workspace,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        monkeypatch.setattr("worker.jobs.chunk.write_part", lambda *_: False)
        monkeypatch.setattr("worker.jobs.chunk._mark", lambda *_: {"ok": 2, "failed": 0})

        read_chunk(message, context, lambda: None)

        assert samples_of(context.metrics, "trace_ocr_items_total") == {}
        assert samples_of(context.metrics, "trace_ocr_batches_total") == {("recognition",): 1.0}

    def test_uploads_are_counted_apart(
        self, context: WorkerContext, uploads: Uploads, clock: Any, png: Callable[..., bytes]
    ) -> None:
        tickets = [
            Ticket(
                f"{n:032x}", "0" * 32, "a.png", "image/png", clock.now + 60, 1, {"recognition_batch_size": 8}
            )
            for n in range(2)
        ]
        uploads.send("recognition", [Upload(tickets[0], png(10)), Upload(tickets[1], b"no image")])

        run_nudge((), msgspec.to_builtins(Nudge("recognition", 8)), context)

        assert samples_of(context.metrics, "trace_ocr_items_total") == {
            ("upload", "completed"): 1.0,
            ("upload", "failed"): 1.0,
        }
        assert samples_of(context.metrics, "trace_ocr_batch_places_total") == {("upload",): 8.0}
        assert samples_of(context.metrics, "trace_ocr_chunks_total") == {("upload", "done"): 1.0}


class TestMessages:
    @pytest.fixture
    def deliver(self, message: ChunkMessage, context: WorkerContext) -> Callable[..., Samples]:
        """Deliver the chunk's message, with some of its fields changed; return what was counted."""

        def run(**changes: object) -> Samples:
            payload = {**msgspec.to_builtins(message), **changes}
            with contextlib.suppress(Reject):
                run_message("recognition", (), payload, context, lambda: None)
            return samples_of(context.metrics, "trace_ocr_chunks_total")

        return run

    def test_done(self, deliver: Callable[..., Samples]) -> None:
        assert deliver() == {("recognition", "done"): 1.0}

    def test_dropped(self, deliver: Callable[..., Samples]) -> None:
        assert deliver(chunk=-1) == {("recognition", "dropped"): 1.0}

    def test_skipped(self, deliver: Callable[..., Samples], ledger: Ledger, message: ChunkMessage) -> None:
        ledger.hold(message.job, "paused")

        assert deliver() == {("recognition", "skipped"): 1.0}

    @pytest.mark.parametrize(
        ("error", "outcome"),
        [
            (InterruptedChunkError("stopping"), "handed_back"),
            (UnfitWorkerError("no memory"), "handed_back"),
            (StorageUnavailableError("S3 is away"), "dropped_for_resend"),
            (ZeroDivisionError("a bug"), "dropped_for_resend"),
            (JobError("damaged"), "job_failed"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
    )
    def test_what_went_wrong(
        self,
        error: Exception,
        outcome: str,
        deliver: Callable[..., Samples],
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def read(*_: object) -> None:
            raise error

        monkeypatch.setattr(tasks, "read_chunk", read)
        monkeypatch.setattr(tasks.os, "kill", lambda *_: None)

        assert deliver() == {("recognition", outcome): 1.0}

    @pytest.mark.parametrize(
        ("error", "outcome"),
        [
            (InterruptedChunkError("stopping"), "handed_back"),
            (UnfitWorkerError("no memory"), "handed_back"),
            (ZeroDivisionError("a bug"), "dropped_for_resend"),
        ],
        ids=lambda value: type(value).__name__ if isinstance(value, Exception) else value,
    )
    def test_what_went_wrong_with_uploads(
        self, error: Exception, outcome: str, context: WorkerContext, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def read(*_: object) -> None:
            raise error

        monkeypatch.setattr(tasks, "read_uploads", read)
        monkeypatch.setattr(tasks.os, "kill", lambda *_: None)

        with pytest.raises(Reject):
            run_nudge((), msgspec.to_builtins(Nudge("recognition", 8)), context)

        assert samples_of(context.metrics, "trace_ocr_chunks_total") == {("upload", outcome): 1.0}
