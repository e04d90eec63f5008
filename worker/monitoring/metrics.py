"""The metrics of one worker process, in a separate registry; reported as Prometheus text."""

import functools
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from operator import add
from typing import TYPE_CHECKING, Literal, get_args

from prometheus_client import CollectorRegistry, Counter, Gauge, ProcessCollector, generate_latest
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from contract.kinds import KINDS
from contract.kinds.base import CONFIDENCE_BINS, Kind
from contract.lines import ErrorLine, Line

if TYPE_CHECKING:
    from worker.monitoring.device import Device
    from worker.pipeline.run import Timings

UPLOAD = "upload"
"""The `kind` label of files sent over HTTP; the label of a job is its kind."""

Outcome = Literal["done", "skipped", "handed_back", "dropped_for_resend", "job_failed", "dropped"]
"""The outcome of a message; `done` includes chunks that another run had read already."""


class WorkerMetrics:
    """Counters of one process; thread-safe.

    Args:
        device: the device whose use is reported too
    """

    def __init__(self, device: "Device") -> None:
        self.device = device
        self._registry = registry = CollectorRegistry()
        counter = functools.partial(Counter, registry=registry)
        self._items = counter("trace_ocr_items", "Items read.", ["kind", "outcome"])
        self._chunks = counter("trace_ocr_chunks", "Messages, by what became of them.", ["kind", "outcome"])
        self._stages = counter(
            "trace_ocr_stage_seconds", "Seconds per stage, summed over threads.", ["kind", "stage"]
        )
        self._batches = counter("trace_ocr_batches", "Batches that the model read.", ["kind"])
        self._pieces = counter("trace_ocr_batch_pieces", "Pieces in those batches.", ["kind"])
        self._places = counter("trace_ocr_batch_places", "Pieces that would have fitted.", ["kind"])
        self._requests = counter("trace_ocr_s3_requests", "Requests to S3.", ["operation", "outcome"])
        self._retries = counter(
            "trace_ocr_s3_retries", "Requests to S3 that were tried again.", ["operation"]
        )
        self._loads = Gauge(
            "trace_ocr_model_load_seconds",
            "Seconds that loading a model took.",
            ["architecture"],
            registry=registry,
        )
        self._readings = _Readings()
        registry.register(self._readings)
        self.loading = ""
        self.on_loading: Callable[[], None] = lambda: None
        """Called when loading of a model starts or ends."""
        self._begin_at_zero()
        ProcessCollector(registry=registry)
        registry.register(_DeviceCollector(device))

    def _begin_at_zero(self) -> None:
        """Create all series at the start: a rate needs a first value."""
        for kind in (*KINDS, UPLOAD):
            for outcome in ("completed", "failed"):
                self._items.labels(kind, outcome)
            for message in get_args(Outcome):
                self._chunks.labels(kind, message)
            for counter in (self._batches, self._pieces, self._places):
                counter.labels(kind)

    def chunk(self, kind: str, outcome: Outcome) -> None:
        """Count one message."""
        self._chunks.labels(kind, outcome).inc()

    def items(self, kind: str, completed: int, failed: int) -> None:
        """Count items whose lines are durable, or answered."""
        self._items.labels(kind, "completed").inc(completed)
        self._items.labels(kind, "failed").inc(failed)

    def readings(self, kind: str, lines: Iterable[Line]) -> None:
        """Count how sure the readings of a job's results are."""
        self._readings.add(KINDS[kind], lines)

    def stages(self, kind: str, seconds: Mapping[str, float]) -> None:
        """Add to the seconds of each stage."""
        for stage, spent in seconds.items():
            self._stages.labels(kind, stage).inc(spent)

    def read(self, kind: str, timings: "Timings", batch_size: int) -> None:
        """Count the seconds, batches and samples of one run."""
        self.stages(kind, timings.seconds)
        self._batches.labels(kind).inc(timings.batches)
        self._pieces.labels(kind).inc(timings.pieces)
        self._places.labels(kind).inc(timings.batches * batch_size)

    def model_loading(self, architecture: str) -> None:
        """Record which model is being loaded; an empty name means none."""
        self.loading = architecture
        self.on_loading()

    def model_loaded(self, architecture: str, seconds: float) -> None:
        """Record the seconds that loading a model took."""
        self._loads.labels(architecture).set(seconds)

    def s3(self, operation: str, outcome: Literal["ok", "error", "retried"], retries: int) -> None:
        """Count one request to S3; a `contract.storage.OnRequest`."""
        self._requests.labels(operation, outcome).inc()
        self._retries.labels(operation).inc(retries)

    def exposition(self) -> str:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry).decode()


class _Readings(Collector):
    """Histograms of confidence, added to a chunk at a time: prometheus_client's take a call per value."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        reading = [kind.name for kind in KINDS.values() if kind.reads != "nothing"]
        self._bins = {kind: [0] * CONFIDENCE_BINS for kind in reading}
        self._sums = dict.fromkeys(reading, 0.0)
        self._characters = dict.fromkeys(reading, 0)
        self._empty = dict.fromkeys(reading, 0)

    def add(self, kind: Kind, lines: Iterable[Line]) -> None:
        """Add the readings of some lines."""
        if kind.name not in self._bins:
            return
        bins, total, characters, empty = [0] * CONFIDENCE_BINS, 0.0, 0, 0
        for line in lines:
            if isinstance(line, ErrorLine):
                continue
            length = 0
            for value, confidence in kind.readings(line):
                length += len(value)
                if confidence is not None:
                    total += confidence
                    bins[min(max(int(confidence * CONFIDENCE_BINS), 0), CONFIDENCE_BINS - 1)] += 1
            characters, empty = characters + length, empty + (not length)
        with self._lock:
            self._bins[kind.name] = list(map(add, self._bins[kind.name], bins))
            self._sums[kind.name] += total
            self._characters[kind.name] += characters
            self._empty[kind.name] += empty

    def collect(self) -> Iterator[Metric]:
        """Yield the families."""
        with self._lock:
            histogram = HistogramMetricFamily(
                "trace_ocr_confidence", "Confidence of crops' texts, and of pages' words.", labels=["kind"]
            )
            for kind, bins in self._bins.items():
                bounds = [f"{(number + 1) / CONFIDENCE_BINS:g}" for number in range(CONFIDENCE_BINS - 1)]
                counts = list(zip((*bounds, "+Inf"), accumulate(bins), strict=True))
                histogram.add_metric([kind], counts, self._sums[kind])
            yield histogram
            for name, documentation, values in (
                ("trace_ocr_characters", "Characters read.", self._characters),
                ("trace_ocr_empty_items", "Crops and pages that were read without any text.", self._empty),
            ):
                counter = CounterMetricFamily(name, documentation, labels=["kind"])
                for kind, value in values.items():
                    counter.add_metric([kind], value)
                yield counter


class _DeviceCollector(Collector):
    def __init__(self, device: "Device") -> None:
        self._device = device

    def collect(self) -> Iterator[Metric]:
        """Yield the device's use; nothing if it is unknown."""
        use = self._device.use()
        if use is None:
            return
        memory = GaugeMetricFamily("trace_ocr_device_memory_bytes", "The GPU's memory.", labels=["state"])
        memory.add_metric(["used"], use.memory_used)
        memory.add_metric(["total"], use.memory_total)
        yield memory
        if use.utilisation is not None:
            yield GaugeMetricFamily(
                "trace_ocr_device_utilisation_ratio",
                "Share of the last moments in which the GPU was busy.",
                value=use.utilisation,
            )
