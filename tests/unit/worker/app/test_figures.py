"""What a worker reports of itself."""

from dataclasses import replace

import msgspec

from contract.broker.process_report import ProcessReport
from worker.app.main import _figures
from worker.jobs.context import WorkerContext
from worker.monitoring.device import DeviceUse
from worker.monitoring.metrics import WorkerMetrics
from worker.monitoring.ready import ReadyFile


class MeasuredDevice:
    """A GPU that says what it does."""

    def use(self) -> DeviceUse:
        return DeviceUse(3, 4, 0.5)


def test_a_report_holds_the_gpus_use_and_the_chunk_in_hand(context: WorkerContext) -> None:
    context = replace(context, metrics=WorkerMetrics(MeasuredDevice()))  # type: ignore[arg-type]
    context.metrics.model_loading("parseq")
    start = ProcessReport("gpu0@a", "worker", 1, "a", "H100", 1.0, 1.0)

    with context.pace.reading("night", "recognition", 7, "recognition crnn"):
        report = msgspec.structs.replace(start, **_figures(context, ReadyFile(None)))

    assert (report.memory_used, report.memory_total, report.utilisation) == (3, 4, 0.5)
    assert (report.in_hand[0].job, report.in_hand[0].chunk) == ("night", 7)
    assert report.activity == "loading parseq"
    assert msgspec.json.decode(msgspec.json.encode(report), type=ProcessReport) == report


def test_a_cpu_reports_no_device(context: WorkerContext) -> None:
    figures = _figures(context, ReadyFile(None))

    assert not {"memory_used", "memory_total", "utilisation"} & figures.keys()
