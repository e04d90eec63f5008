"""One command at a time works on the nights below a root: a lease in storage, renewed while it is held.

No clock is compared with another machine's: a waiting command takes the lease over once it has seen no
renewal for EXPIRY_SECONDS of its own monotonic clock, or at once if the holder was a process of this machine
that ended.
"""

import os
import secrets
import socket
import threading
import time
from collections.abc import Callable
from types import TracebackType

import msgspec
import structlog

from contract.errors import ObjectMissingError, StorageError, TraceOcrError
from contract.lines import UNREADABLE
from contract.storage import Store
from contract.workspace import MAX_JSON_BYTES

RENEWAL_SECONDS = 10.0
"""Seconds between renewals: each is two or three requests."""

EXPIRY_SECONDS = 60.0
"""Seconds without a renewal after which a lease is taken over: longer than the retries of one S3 request."""

LOOK_SECONDS = 2.0
"""Seconds between two looks at another's lease."""


class Holder(msgspec.Struct, frozen=True):
    """Who holds the lease, and how often it was renewed."""

    token: str
    host: str
    process: int
    renewals: int = 0


class LeaseLostError(TraceOcrError):
    """Another command has taken the nights over, since this one did not renew its lease in time."""


class Lease:
    """The lease of the nights below a root; hold it with `with`.

    Args:
        on_wait: called once if another command holds it, with its host and process
        expiry: as EXPIRY_SECONDS
    """

    def __init__(
        self,
        uri: str,
        store: Store,
        on_wait: Callable[[str], None] = lambda _: None,
        expiry: float = EXPIRY_SECONDS,
    ) -> None:
        self._uri, self._store, self._on_wait, self._expiry = uri, store, on_wait, expiry
        self._holder = Holder(secrets.token_hex(8), socket.gethostname(), os.getpid())
        self._ended, self._lost = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._renew, name="lease", daemon=True)

    def __enter__(self) -> "Lease":
        seen, since, told = None, time.monotonic(), False
        while not self._take(seen if self._is_over(seen, since) else None):
            current = self._read()
            if current != seen:
                seen, since = current, time.monotonic()
            if seen and not told and not self._is_over(seen, since):
                told = True
                self._on_wait(_words(seen))
            if seen and not self._is_over(seen, since):
                time.sleep(min(LOOK_SECONDS, self._expiry / 4))
        self._thread.start()
        return self

    def __exit__(
        self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        if not self._lost.is_set() and self._read() == self._data:
            self._store.delete(self._uri)

    def check(self) -> None:
        """Raise LeaseLostError if another command may have taken over."""
        if self._lost.is_set():
            raise LeaseLostError("another command has taken these nights over: this one stops; see its log")

    def _take(self, over: bytes | None) -> bool:
        self._data = msgspec.json.encode(self._holder)
        if over is None:
            return self._store.create(self._uri, self._data)
        try:
            return self._store.exchange(self._uri, over, self._data)
        except ObjectMissingError:
            return False

    def _read(self) -> bytes | None:
        try:
            return self._store.read(self._uri, MAX_JSON_BYTES)
        except ObjectMissingError:
            return None

    def _is_over(self, data: bytes | None, since: float) -> bool:
        return data is not None and (time.monotonic() - since >= self._expiry or _has_ended(data))

    def _renew(self) -> None:
        renewed = time.monotonic()
        while not self._ended.wait(min(RENEWAL_SECONDS, self._expiry / 4)):
            self._holder = msgspec.structs.replace(self._holder, renewals=self._holder.renewals + 1)
            data = msgspec.json.encode(self._holder)
            try:
                held: bool | None = self._store.exchange(self._uri, self._data, data)
            except StorageError as error:
                structlog.get_logger().warning("lease_not_renewed", error=str(error))
                # The exchange may have happened: the next one is compared with what is there if it is ours.
                held = self._reconciled(data)
            if held:
                self._data, renewed = data, time.monotonic()
            elif held is False or time.monotonic() - renewed >= self._expiry:
                self._lost.set()
                return

    def _reconciled(self, data: bytes) -> bool | None:
        """Return whether a renewal that failed was written; None if that cannot be known now."""
        try:
            current = self._read()
        except StorageError:
            return None
        return True if current == data else None if current == self._data else False


def _holder_in(data: bytes) -> Holder | None:
    try:
        return msgspec.json.decode(data, type=Holder)
    except UNREADABLE:
        return None


def _words(data: bytes) -> str:
    holder = _holder_in(data)
    return f"process {holder.process} on {holder.host}" if holder else "an unknown process"


def _has_ended(data: bytes) -> bool:
    """Return whether the holder was a process of this machine, and is none now."""
    holder = _holder_in(data)
    if holder is None or holder.host != socket.gethostname():
        return False
    try:
        os.kill(holder.process, 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return False
