"""`trace-ocr control`: plans, feeds, reconciles and merges jobs until stopped."""

import os
import socket
from concurrent.futures import ThreadPoolExecutor

import structlog

from contract.broker.reports import make_reporter
from contract.broker.server import look_at
from contract.errors import ExitCode
from contract.settings import Settings
from contract.stop_signals import event_of_stop_signals
from producer.cli import options
from producer.planning.planner import PLANNERS
from producer.session import Session


@options.command()
@options.with_settings(
    "max_document_bytes",
    *options.WATCHING,
    "tenants",
    "visibility_timeout",
    "retention_days",
    "reconcile_seconds",
    "notify",
    "notify_hosts",
    *options.SENDING,
)
def control(settings: Settings) -> ExitCode:
    """Plan, feed and merge jobs, and re-send lost chunks, until stopped. One is needed; more do no harm.

    It plans jobs submitted over HTTP; `submit` plans its own job.
    """
    stop = event_of_stop_signals()
    session = Session(settings)
    look_at(session.client)
    loop, planner = session.control(), session.planner()
    feeder = session.feeder(loop.notice)
    structlog.get_logger().info("control_started", pid=os.getpid())
    reporter = make_reporter(settings, "control", f"control@{socket.gethostname()}")
    with reporter, ThreadPoolExecutor(PLANNERS + 2, thread_name_prefix="plan") as threads:
        try:
            threads.submit(feeder.run, stop)
            for _ in range(PLANNERS):
                threads.submit(planner.run, stop)
            threads.submit(planner.run, stop, urgent=True)
            threads.submit(loop.notifier.run, stop)
            loop.run(stop)
        finally:
            stop.set()
    return ExitCode.OK
