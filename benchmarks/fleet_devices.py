"""Some simulated devices in one process: `python -m benchmarks.fleet_devices PREFIX COUNT SECONDS`.

Each has a connection, a consumer and two places of its own, as a worker process has. kombu's transport,
Celery's events and the product's `read_chunk` are real. The forward is not: it takes its seconds, and reads
nothing.
"""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import structlog
from celery import Celery
from celery.exceptions import Reject
from kombu import Consumer, Queue
from redis import Redis

import worker.jobs.chunk
from contract.broker.app import make_app, make_redis, queue_names
from contract.broker.ledger import Ledger
from contract.broker.process_report import ProcessReport
from contract.broker.reports import REPORT_SECONDS, Reports
from contract.lines import RecognitionLine
from contract.logs import configure_logging
from contract.records import Item
from contract.settings import Settings, load_settings
from contract.stop_signals import event_of_stop_signals
from contract.storage import Storage
from contract.storage.roots import AllowedRoots
from worker.app.tasks import run_message
from worker.app.transport import use_transport
from worker.jobs.context import WorkerContext
from worker.jobs.heartbeat import renew_lease
from worker.jobs.share import ChunkShare
from worker.monitoring.device import Device as Hardware
from worker.monitoring.metrics import WorkerMetrics
from worker.monitoring.pace import Pace
from worker.pipeline.run import Timings

PLACES = 2
"""Chunks that a device holds at once, as `worker.app.main.CHUNKS_IN_FLIGHT`: one on it, and the next."""

EVENT_SECONDS = 2.0
"""Seconds between a worker's heartbeats for Flower, as Celery's."""

DRAIN_SECONDS = 0.5
"""Longest wait for a message before a device looks for a free place again."""


class NullPipeline:
    """A pipeline whose forward takes a set time; chunks of one device run one after the other."""

    models = ({"architecture": "null"},)
    batch_size = prefetch = 8
    decoding = None

    def __init__(self, device: "Device") -> None:
        self._device = device

    def run(self, items: Sequence[Item], run: Any) -> Iterator[RecognitionLine]:
        """Yield a line per item; its progress is told as a model's would be."""
        with self._device.forward:
            for item in items:
                time.sleep(self._device.seconds / len(items))
                yield RecognitionLine(item.id, item.id, "22.01/2030", 0.98)
                self._device.progress(run)


class DeviceContext(WorkerContext):
    """A worker process's context, with runs that only count.

    It is the real one, so that mypy tells what a simulated device lacks when chunks come to need more.
    """

    def make_run(self, *_: Any, on_progress: Callable[[int], None] = lambda _: None, **__: Any) -> Any:
        """Return a run of a `NullPipeline`."""
        return SimpleNamespace(timings=Timings(), on_progress=on_progress, read=0)


class Device:
    """One simulated worker process."""

    def __init__(self, name: str, seconds: float, settings: Settings, app: Celery, client: Redis) -> None:
        self.name, self.seconds, self.forward = name, seconds, threading.Lock()
        self._settings, self._app, self._client = settings, app, client
        self.metrics = WorkerMetrics(Hardware("cpu"))
        unused: Any = None
        models: Any = self
        watchdog: Any = SimpleNamespace(watching=lambda: contextlib.nullcontext(lambda: None))
        self.context = DeviceContext(
            name=name,
            settings=settings,
            storage=Storage(settings),
            roots=AllowedRoots(settings.allowed_roots),
            ledger=Ledger(client, settings.namespace),
            models=models,
            executor=unused,
            fetchers=unused,
            stop=threading.Event(),
            unfit=threading.Event(),
            feeders=None,
            decoders=unused,
            uploads=unused,
            share=unused,
            large_images=threading.Lock(),
            watchdog=watchdog,
            metrics=self.metrics,
            pace=Pace(),
        )

    def progress(self, run: Any) -> None:
        """Count an item of a run as read."""
        run.read += 1
        run.on_progress(run.read)

    def serve(self, stop: threading.Event) -> None:
        """Take messages until `stop` is set."""
        queues = [Queue(name) for name in queue_names(self._settings.namespace)]
        with (
            self._app.connection_for_read() as connection,
            self._app.connection_for_write() as told,
            self._app.events.Dispatcher(told, hostname=self.name) as events,
            connection.channel() as channel,
            ThreadPoolExecutor(PLACES) as places,
        ):
            consumer = Consumer(
                channel,
                queues,
                accept=["json"],
                on_message=lambda message: places.submit(self._take, message, events),
                prefetch_count=PLACES,
            )
            consumer.consume()
            next_event = 0.0
            while not stop.is_set():
                if time.monotonic() >= next_event:
                    events.send("worker-heartbeat", freq=EVENT_SECONDS, active=0, processed=0)
                    next_event = time.monotonic() + EVENT_SECONDS
                with contextlib.suppress(TimeoutError):
                    connection.drain_events(timeout=DRAIN_SECONDS)
            consumer.cancel()

    def _take(self, message: Any, events: Any) -> None:
        try:
            self._run(message, events)
        except Exception:
            structlog.get_logger().exception("device_failed", device=self.name)

    def _run(self, message: Any, events: Any) -> None:
        identity, tag = message.headers["id"], message.delivery_tag
        shown = {"uuid": identity, "name": message.headers["task"], "args": message.headers["argsrepr"]}
        events.send("task-received", **shown)
        events.send("task-started", uuid=identity)
        started = time.monotonic()
        try:
            _, payload, _ = message.payload
            done = run_message(
                "recognition", (), payload, self.context, lambda: renew_lease(self._client, tag)
            )
        except Reject as reject:
            message.reject(requeue=reject.requeue)
        else:
            message.ack()
            events.send(
                "task-succeeded", uuid=identity, result=repr(done), runtime=time.monotonic() - started
            )


def report(devices: Sequence[Device], reports: Reports, stop: threading.Event) -> None:
    """Report all devices, as each worker process reports itself."""
    while not stop.is_set():
        for number, device in enumerate(devices):
            now = time.time()
            reports.write(
                # No process has such a number: /proc ends at 2²².
                ProcessReport(device.name, "worker", 2**22 + number, "fleet", "null", now, now,
                              metrics=device.metrics.exposition())
            )  # fmt: skip
        stop.wait(REPORT_SECONDS)


def main(prefix: str, count: int, seconds: float) -> None:
    """Serve with so many devices until SIGTERM."""
    settings, stop = load_settings(), event_of_stop_signals()
    configure_logging(settings)
    worker.jobs.chunk.make_pipeline = lambda *made_of: NullPipeline(made_of[-1])  # type: ignore
    app, client = make_app(settings), make_redis(settings)
    use_transport(app, ChunkShare(settings.chunk_share, lambda: True), queue_names(settings.namespace)[0])
    devices = [Device(f"{prefix}{number}@fleet", seconds, settings, app, client) for number in range(count)]
    threads = [threading.Thread(target=device.serve, args=(stop,)) for device in devices]
    threads.append(threading.Thread(target=report, args=(devices, Reports(client, settings.namespace), stop)))
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
