"""The obstore clients of the buckets of one scheme, and which URIs they can be asked for."""

import threading
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from obstore.exceptions import BaseError

from contract.errors import StorageRefusedError
from contract.storage.asking import (
    ATTEMPTS,
    CONNECT_SECONDS,
    FIRST_PAUSE,
    LONGEST_PAUSE,
    READ_SECONDS,
    TRANSFER_SECONDS,
    USER_AGENT,
)
from contract.storage.base import split_bucket
from contract.storage.obstore_errors import without_credentials

if TYPE_CHECKING:
    from obstore.store import ClientConfig, ObjectStore, RetryConfig

Connect = Callable[[str, "ClientConfig", "RetryConfig"], "ObjectStore"]
"""Returns the client of a bucket or container; raises obstore's errors if the configuration is not valid."""


class Clients(NamedTuple):
    """The clients of one bucket.

    Args:
        once: makes each request once, so that the retries are counted here
        patient: repeats failed requests itself, for listings and uploads, which take many
    """

    once: "ObjectStore"
    patient: "ObjectStore"


class BucketClients:
    """The clients of every bucket that was asked for; thread-safe.

    Args:
        scheme: "gs" or "az"
        connect: returns a client
        is_bucket: whether a name can be that of a bucket
    """

    def __init__(self, scheme: str, connect: Connect, is_bucket: Callable[[str], object]) -> None:
        self.scheme = scheme
        self._connect = connect
        self._is_bucket = is_bucket
        self._making = threading.Lock()
        self._clients: dict[str, Clients] = {}

    def for_object(self, uri: str) -> tuple["ObjectStore", str]:
        """Return the client of the object's bucket, and its key.

        Raises:
            StorageRefusedError: obstore would read another object, since it drops slashes at the ends of keys
        """
        _, key = self.split(uri)
        if not key or key.startswith("/") or key.endswith("/"):
            raise StorageRefusedError(
                f"{uri} cannot be the name of an object: no key may be empty or begin or end with a slash"
            )
        return self.for_bucket(uri).once, key

    def for_bucket(self, uri: str) -> Clients:
        """Return the clients of the URI's bucket; raises StorageError."""
        bucket, _ = self.split(uri)
        if bucket not in self._clients:
            with self._making:
                if bucket not in self._clients:
                    self._clients[bucket] = self._make(uri, bucket)
        return self._clients[bucket]

    def _make(self, uri: str, bucket: str) -> Clients:
        options: ClientConfig = {
            "allow_http": True,
            "connect_timeout": timedelta(seconds=CONNECT_SECONDS),
            "read_timeout": timedelta(seconds=READ_SECONDS),
            "timeout": timedelta(seconds=TRANSFER_SECONDS),
            "user_agent": USER_AGENT,
        }
        pauses = {
            "init_backoff": timedelta(seconds=FIRST_PAUSE),
            "max_backoff": timedelta(seconds=LONGEST_PAUSE),
        }
        patience: RetryConfig = {"max_retries": ATTEMPTS - 1, "backoff": cast("Any", pauses)}
        try:
            return Clients(
                self._connect(bucket, options, {"max_retries": 0}), self._connect(bucket, options, patience)
            )
        except (BaseError, OSError, ValueError) as error:
            raise without_credentials(uri) from error

    def split(self, uri: str) -> tuple[str, str]:
        """Return (bucket, key); keys are not percent-decoded."""
        bucket, key = split_bucket(uri)
        if not self._is_bucket(bucket):
            raise StorageRefusedError(f"{uri}: {bucket!r} cannot be the name of a bucket or container")
        return bucket, key
