"""Flower over this product's broker: who works at what, for people; it watches and steers nothing."""

import asyncio
import importlib
import ipaddress
import logging
import os
import signal
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

MAX_TASKS = 10_000
"""Chunks that Flower remembers, the newest: some tens of MB of memory, and a third of a second to save."""

SAVE_MILLISECONDS = 10_000
"""Between two saves of Flower's view: what a SIGKILL costs of it at most."""

GONE_SECONDS = 86_400
"""After which a worker that has left is no longer listed: restarted containers have new names each time."""

COLUMNS = "args,state,result,worker,received,started,runtime,uuid"
"""Of the task table. The arguments say which chunk it is; the name is the same for all; the id opens it."""

KNOWN_JOBS = 1_000
"""Jobs whose number of chunks is remembered; further ones are asked for anew."""

PRIVATE = 0o077
"""Umask: the view names every job, and is pickled, so that who can write it could run code here."""

_AUTH_VARIABLE = variable_of("flower_basic_auth")


def serve_flower(settings: Settings) -> None:
    """Serve Flower until SIGTERM or SIGINT; its view is saved at the end.

    Raises:
        SettingsError: without a password on an address that others reach, or the database has no folder
        BrokerError: no URL of Redis is set
        UsageError: Flower is not installed, or the port is taken
    """
    log = structlog.get_logger()
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    os.umask(PRIVATE)
    # Who is refused is worth a line, each refresh of a page is not.
    logging.getLogger("tornado.access").setLevel(logging.WARNING)
    flower = make_flower(settings)
    try:
        port = flower.start_http_server()
    except OSError as error:
        raise UsageError(
            f"Flower cannot listen on {settings.flower_address} port {settings.flower_port} "
            f"({error.strerror}): set {variable_of('flower_address')} or {variable_of('flower_port')}"
        ) from error
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, loop.stop)
    if not settings.flower_basic_auth:
        log.warning("flower_open", problem=f"everyone on this machine may look: set {_AUTH_VARIABLE}")
    log.info("flower_started", address=settings.flower_address, port=port, database=settings.flower_database)
    flower.start()
    try:
        flower.stop()
    except OSError as error:
        log.error("flower_not_saved", database=settings.flower_database, error=str(error))
    log.info("flower_stopped")


def make_flower(settings: Settings) -> Any:
    """Return Flower's application, not yet listening; call with an event loop set.

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
    for name, value in options.items():
        setattr(package.default_options, name, value)
    flower = package.Flower(capp=app, options=package.default_options, **urls.settings)
    # Its metrics ask for no password, and ours are the API's. Handlers added later are asked first.
    flower.add_handlers(".*", [("/metrics", missing)])
    flower.inspector.workers = defaultdict(_Answers)
    totals, heard = (
        ChunkTotals(Ledger(make_redis(settings, retries=1), settings.namespace)),
        flower.events.on_event,
    )
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
        # A chunk revoked or a pool resized here would go past the ledger: jobs are steered by trace-ocr.
        "read_only": True,
    }


def with_place(event: dict[str, Any], total_of: Callable[[str, int], int | None]) -> dict[str, Any]:
    """Return a worker's event with its chunk's place as arguments, such as `nightly-0412 17/245`.

    Most chunks are sent before their job's last one is planned, and so without knowing of how many they are.

    Args:
        total_of: the chunks of a job that has at least so many, None while it is not known
    """
    job, slash, chunk = str(event.get("uuid", "")).rpartition("/")
    if not slash or not chunk.isdecimal():
        return event
    total = total_of(job, int(chunk) + 1)
    return {**event, "args": f"{job} {int(chunk) + 1}/{total}"} if total else event


class ChunkTotals:
    """How many chunks jobs have, asked of the ledger once a job is planned."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._known: dict[str, int] = {}

    def of(self, job: str, at_least: int) -> int | None:
        """Return the chunks of a job that has at least so many; None while that is not known."""
        # A round of retries adds chunks to those that were planned.
        if self._known.get(job, 0) < at_least:
            if len(self._known) >= KNOWN_JOBS:
                self._known.clear()
            try:
                progress = self._ledger.load(job)
            except RedisError:
                return None  # the next event of the job asks again
            if not progress or not progress.chunks_total or progress.chunks_total < at_least:
                return None
            self._known[job] = progress.chunks_total
        return self._known[job]


def is_loopback(address: str) -> bool:
    """Return whether only this machine reaches an address or host name."""
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return address == "localhost"


class _Answers(dict[str, Any]):
    """What one worker says of itself; Celery lets the password in a Unix socket's URL through."""

    def __setitem__(self, method: str, answer: object) -> None:
        super().__setitem__(method, redact(None, method, {method: answer})[method])


def _passwords(settings: Settings) -> list[str]:
    if settings.flower_basic_auth is None:
        return []
    pairs = [pair.strip() for pair in settings.flower_basic_auth.get_secret_value().split(",")]
    for pair in pairs:
        user, _, password = pair.partition(":")
        # Flower compares as ASCII, and answers 500 to anything else.
        if not user or not password or not pair.isascii():
            raise SettingsError(
                f"flower_basic_auth ({_AUTH_VARIABLE}): must be user:password, or several of them with "
                "commas between, in ASCII (its value is not repeated here)"
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
