"""Traces: one per job, below the caller's, whoever does a step of it."""

from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from contract.job import Job, parse_job
from contract.tracing import configure_tracing, current_traceparent, job_span, span

CALLER = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.fixture
def spans(monkeypatch: pytest.MonkeyPatch) -> Iterator[InMemorySpanExporter]:
    """Given a process whose spans stay in memory."""
    exporter, provider = InMemorySpanExporter(), TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", provider)
    yield exporter
    provider.shutdown()


def ids(one: ReadableSpan) -> tuple[str, str | None]:
    """Return a span's trace, and the span that it is below."""
    assert one.context
    return f"{one.context.trace_id:032x}", f"{one.parent.span_id:016x}" if one.parent else None


def test_a_job_is_one_trace_below_its_callers(spans: InMemorySpanExporter, job: Job) -> None:
    with span("submit", CALLER):
        submitted = parse_job(job.model_copy(update={"traceparent": current_traceparent()}).to_json(), "")
    # other processes have nothing but job.json
    with job_span("chunk", submitted, chunk=7):
        pass
    with job_span("merge", submitted):
        pass

    submit, chunk, merge = spans.get_finished_spans()
    assert submit.context
    assert ids(submit) == (CALLER[3:35], CALLER[36:52])
    assert ids(chunk) == ids(merge) == (CALLER[3:35], f"{submit.context.span_id:016x}")
    assert chunk.attributes == {"job": job.id, "kind": job.kind, "chunk": 7}


@pytest.mark.parametrize("header", [None, "", "nonsense", "00-" + "0" * 32 + "-b7ad6b7169203331-01"])
def test_without_a_valid_caller_it_is_a_trace_of_its_own(
    header: str | None, spans: InMemorySpanExporter
) -> None:
    with span("submit", header):
        assert current_traceparent()

    (one,) = spans.get_finished_spans()
    assert one.parent is None


def test_a_job_without_a_trace_has_no_spans(spans: InMemorySpanExporter, job: Job) -> None:
    with job_span("chunk", job):
        assert current_traceparent() is None

    assert not spans.get_finished_spans()


def test_a_failed_step_is_marked(spans: InMemorySpanExporter, job: Job) -> None:
    traced = job.model_copy(update={"traceparent": CALLER})

    with pytest.raises(OSError, match="disk"), job_span("merge", traced):
        raise OSError("disk")

    (one,) = spans.get_finished_spans()
    assert not one.status.is_ok


def test_a_process_that_exports_nothing_hands_the_callers_trace_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trace, "_TRACER_PROVIDER", None)

    with span("submit", CALLER):
        assert current_traceparent() == CALLER


def test_nothing_is_exported_unless_an_endpoint_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_: Any) -> None:
        raise AssertionError

    monkeypatch.setattr(trace, "set_tracer_provider", refuse)
    monkeypatch.delenv("OTEL_EXPORTER_OTLP_ENDPOINT", raising=False)
    configure_tracing("control")


def test_an_endpoint_sets_an_exporter_up(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[TracerProvider] = []
    monkeypatch.setattr(trace, "set_tracer_provider", made.append)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")

    configure_tracing("control")

    assert made[0].resource.attributes["service.name"] == "trace-ocr-control"
    made[0].shutdown()
