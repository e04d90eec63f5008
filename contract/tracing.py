"""Traces by OpenTelemetry: one per job, over its submission, its chunks and its merge.

Spans are exported if OTEL_EXPORTER_OTLP_ENDPOINT is set and the extra [otel] is installed; all other settings
are OpenTelemetry's own variables. Without both, everything here does nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from contract.errors import SettingsError
from contract.job import Job

ENDPOINTS = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
"""Variables that say where spans go."""


def configure_tracing(role: str) -> None:
    """Export the spans of this process, if an endpoint is set; call once, at its start.

    Args:
        role: the process's part in the system, for `service.name`; OTEL_SERVICE_NAME goes before it

    Raises:
        SettingsError: the extra is not installed
    """
    if not any(os.environ.get(name) for name in ENDPOINTS):
        return
    try:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise SettingsError(
            f"{ENDPOINTS[0]} is set, and traces need the extra: pip install 'trace-ocr-batch[otel]'"
        ) from error
    name = os.environ.get("OTEL_SERVICE_NAME") or f"trace-ocr-{role}"
    provider = TracerProvider(resource=Resource.create({"service.name": name}))
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    trace.set_tracer_provider(provider)


@contextmanager
def span(name: str, parent: str | None = None, **attributes: str | int) -> Iterator[None]:
    """Measure the block as a span.

    Args:
        parent: a W3C traceparent, for example of an HTTP request; one that is not valid is ignored
    """
    try:
        from opentelemetry import trace
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        yield
        return
    context = TraceContextTextMapPropagator().extract({"traceparent": parent}) if parent else None
    tracer = trace.get_tracer("trace-ocr")
    with tracer.start_as_current_span(name, context, attributes={**attributes}):
        yield


@contextmanager
def job_span(name: str, job: Job, **attributes: str | int) -> Iterator[None]:
    """Measure the block as a span of a job's trace; a job that was submitted without one has none."""
    if job.traceparent is None:
        yield
        return
    with span(name, job.traceparent, job=job.id, kind=job.kind, **attributes):
        yield


def current_traceparent() -> str | None:
    """Return the traceparent of the current span; None outside of one, or without OpenTelemetry."""
    try:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
    except ImportError:
        return None
    carrier: dict[str, str] = {}
    TraceContextTextMapPropagator().inject(carrier)
    return carrier.get("traceparent")
