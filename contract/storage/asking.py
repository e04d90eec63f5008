"""How often requests to storage are tried, and an `Asker` for clients that neither repeat nor count them."""

from collections.abc import Callable
from typing import TypeVar

import tenacity

from contract.errors import ObjectMissingError, StorageUnavailableError
from contract.storage.base import OnRequest

T = TypeVar("T")

ATTEMPTS = 6
"""Tries per request, and per transfer of a body; with the pauses below they span some ten seconds."""

CONNECT_SECONDS, READ_SECONDS = 10, 60
"""Timeouts of one request; a stalled connection must not block a chunk for minutes."""

TRANSFER_SECONDS = 3600
"""Timeout of a transfer; weights over a slow connection take longer than obstore's 30 s."""

FIRST_PAUSE, LONGEST_PAUSE = 0.2, 10.0
"""Seconds between two tries: at most the first, doubled with each try, and never more than the longest."""

USER_AGENT = "trace-ocr-batch"
"""Our name in the storage's access logs."""


class Asker:
    """Makes requests; thread-safe.

    Args:
        scheme: what operations begin with
        on_request: called for every request
    """

    def __init__(self, scheme: str, on_request: OnRequest | None) -> None:
        self._scheme = scheme
        self._on_request = on_request
        self._retrying = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(StorageUnavailableError),
            stop=tenacity.stop_after_attempt(ATTEMPTS),
            wait=tenacity.wait_random_exponential(multiplier=FIRST_PAUSE, max=LONGEST_PAUSE),
            reraise=True,
        )

    def ask(self, operation: str, request: Callable[[], T]) -> T:
        """Make a request until it is answered, and tell the observer about it.

        Args:
            request: raises storage errors
        """
        retrying = self._retrying.copy()
        failed = True
        try:
            answer = retrying(request)
            failed = False
        except ObjectMissingError:
            failed = False
            raise
        finally:
            if self._on_request:
                retries = int(retrying.statistics.get("attempt_number", 1)) - 1
                self._on_request(f"{self._scheme}:{operation}", "error" if failed else "ok", retries)
        return answer
