"""Flower on this product's broker: shows which worker reads which chunk; read-only."""

import asyncio
import importlib
import ipaddress
import logging
import os
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import structlog
from redis import RedisError

from contract.broker.app import make_app, make_redis
from contract.broker.ledger import Ledger
from contract.errors import SettingsError, UsageError
from contract.logs import redact
from contract.settings import Settings, variable_of
from contract.stop_signals import STOP_SIGNALS

MAX_TASKS = 10_000
"""Newest chunks that Flower keeps: some tens of MB of memory, and a third of a second to save."""

SAVE_MILLISECONDS = 10_000
"""Milliseconds between two saves of Flower's state: at most this much is lost on SIGKILL."""

GONE_SECONDS = 86_400
"""Seconds until a stopped worker is no longer listed: a restarted container gets a new name each time."""

COLUMNS = "args,state,result,worker,received,started,runtime,uuid"
"""Columns of the task table: `args` names the chunk, `uuid` links to the task. The task name is omitted: it
is the same for all."""

KNOWN_JOBS = 1_000
"""Jobs whose number of chunks is cached; beyond that, the cache is cleared."""

PRIVATE = 0o077
"""Umask: the state file names every job, and is a pickle, so anyone who can write it could run code here."""

_AUTH_VARIABLE = variable_of("flower_basic_auth")


def serve_flower(settings: Settings) -> None:
    """Serve Flower until SIGTERM or SIGINT; save its state at the end.

    Raises:
        SettingsError: no password on an address that other machines reach, or no folder for the database
        BrokerError: no Redis URL is set
        UsageError: Flower is not installed, or the port is taken
    """
    log = structlog.get_logger()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    os.umask(PRIVATE)
    # Log refused requests, but not each refresh of a browser page.
    logging.getLogger("tornado.access").setLevel(logging.WARNING)
    flower = make_flower(settings)
    try:
        port = flower.start_http_server()
    except OSError as error:
        raise UsageError(
            f"Flower cannot listen on {settings.flower_address} port {settings.flower_port} "
            f"({error.strerror}): set {variable_of('flower_address')} or {variable_of('flower_port')}"
        ) from error
    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, loop.stop)
    if not settings.flower_basic_auth:
        log.warning("flower_open", problem=f"everyone on this machine has access: set {_AUTH_VARIABLE}")
    log.info("flower_started", address=settings.flower_address, port=port, database=settings.flower_database)
    flower.start()
    try:
        flower.stop()
    except OSError as error:
        log.error("flower_not_saved", database=settings.flower_database, error=str(error))
    log.info("flower_stopped")


def make_flower(settings: Settings) -> Any:
    """Return Flower's application before it listens; an event loop must be set.

    Raises:
        SettingsError, BrokerError, UsageError: as `serve_flower`
    """
    options = flower_options(settings)
    app = make_app(settings)
    try:
        package = importlib.import_module("flower.app")
        urls = importlib.import_module("flower.urls")
        missing = importlib.import_module("flower.views.error").NotFoundErrorHandler
    except ImportError as error:
        raise UsageError(
            f"Flower is not installed ({error}): pip install 'trace-ocr-batch[flower]'"
        ) from error
    # Flower reads some options from tornado's global options, so a separate set would have no effect.
    for name, value in options.items():
        setattr(package.default_options, name, value)
    flower = package.Flower(capp=app, options=package.default_options, **urls.settings)
    # Flower's metrics need no password, and no option disables them. Handlers added later are matched first.
    flower.add_handlers(".*", [("/metrics", missing)])
    # No option redacts what workers report, and views, API and templates all read this one dict.
    flower.inspector.workers = defaultdict(_Answers)
    totals, heard = (
        ChunkTotals(Ledger(make_redis(settings, retries=1), settings.namespace)),
        flower.events.on_event,
    )
    # The option `format_task` changes only the display: a search for a job would not find its chunks.
    flower.events.on_event = lambda event: heard(with_place(event, totals.of))
    return flower


def flower_options(settings: Settings) -> dict[str, object]:
    """Return Flower's options by name.

    Raises:
        SettingsError: as `serve_flower`
    """
    passwords = _passwords(settings)
    if not passwords and not is_loopback(settings.flower_address):
        raise SettingsError(
            f"Flower would be open to everyone who reaches {settings.flower_address or 'this machine'}: set "
            f"{_AUTH_VARIABLE} to user:password, or {variable_of('flower_address')} to 127.0.0.1"
        )
    return {
        "address": settings.flower_address,
        "port": settings.flower_port,
        "basic_auth": passwords,
        "db": _database(settings),
        "persistent": True,
        "state_save_interval": SAVE_MILLISECONDS,
        "max_tasks": MAX_TASKS,
        "purge_offline_workers": GONE_SECONDS,
        "tasks_columns": COLUMNS,
        # Revoking a chunk or resizing a pool here would bypass the ledger: steer jobs with trace-ocr.
        "read_only": True,
    }


def with_place(event: dict[str, Any], total_of: Callable[[str, int], int | None]) -> dict[str, Any]:
    """Return a worker's event with its chunk's position as arguments, such as `nightly-0412 17/245`.

    Most chunks are sent before their job is fully planned, when the total is not known yet.

    Args:
        total_of: returns a job's number of chunks if it is at least the given one, None while it is unknown
    """
    job, slash, chunk = str(event.get("uuid", "")).rpartition("/")
    if not slash or not chunk.isdecimal():
        return event
    total = total_of(job, int(chunk) + 1)
    return {**event, "args": f"{job} {int(chunk) + 1}/{total}"} if total else event


class ChunkTotals:
    """The number of chunks of each job, read from the ledger once the job is planned."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, int] = {}

    def of(self, job: str, at_least: int) -> int | None:
        """Return a job's number of chunks if it is at least `at_least`; None while it is unknown."""
        # A round of retries adds chunks to the planned ones.
        if self._known.get(job, 0) < at_least:
            if len(self._known) >= KNOWN_JOBS:
                self._known.clear()
            try:
                progress = self._ledger.load(job)
            except RedisError:
                return None  # the job's next event tries again
            if not progress or not progress.chunks_total or progress.chunks_total < at_least:
                return None
            self._known[job] = progress.chunks_total
        return self._known[job]


def is_loopback(address: str) -> bool:
    """Return whether an address or host name is reachable from this machine only."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


class _Answers(dict[str, Any]):
    """One worker's report about itself, redacted: Celery does not hide a password in a Unix socket's URL."""

    def __setitem__(self, method: str, answer: object) -> None:
        super().__setitem__(method, redact(None, method, {method: answer})[method])


def _passwords(settings: Settings) -> list[str]:
    if settings.flower_basic_auth is None:
        return []
    pairs = [pair.strip() for pair in settings.flower_basic_auth.get_secret_value().split(",")]
    for pair in pairs:
        user, _, password = pair.partition(":")
        # Flower compares passwords as ASCII, and answers 500 to anything else.
        if not user or not password or not pair.isascii():
            raise SettingsError(
                f"flower_basic_auth ({_AUTH_VARIABLE}): must be user:password, or several of them "
                "separated by commas, in ASCII (its value is not repeated here)"
            )
    return pairs


def _database(settings: Settings) -> str:
    path = Path(settings.flower_database).absolute()
    if path.is_dir() or not os.access(path.parent, os.W_OK):
        raise SettingsError(
            f"flower_database ({variable_of('flower_database')}): {path} cannot be written: "
            "name a file in a folder that exists and that this user may write to"
        )
    return str(path)
