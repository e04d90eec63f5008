"""The interface of channels, and what they send."""

from dataclasses import dataclass
from typing import Protocol

from contract.errors import TraceOcrError
from contract.settings import Settings


class DeliveryError(TraceOcrError):
    """A notification was not accepted; it is tried again. The message holds nothing of a URL but its host.

    Args:
        after: seconds that the receiver asks to be left alone
    """

    def __init__(self, message: str, after: float = 0.0) -> None:
        super().__init__(message)
        self.after = after


class ReceiverGoneError(DeliveryError):
    """The receiver wants no more notifications: HTTP 410."""


@dataclass(frozen=True)
class Message:
    """One notification: `body` is JSON, `title` and `text` say the same to people; `at` is Unix seconds.

    `id` is the same in every try, so that a receiver can drop what it gets twice.
    """

    id: str
    at: float
    body: bytes
    title: str
    text: str


class Channel(Protocol):
    """One way of sending."""

    def send(self, url: str, message: Message, settings: Settings) -> None:
        """Send a message, in bounded time.

        Raises:
            ReceiverGoneError: the receiver wants no more
            DeliveryError: it was not accepted
        """


def host_of(url: str) -> str:
    """Return what may be shown of a URL: its scheme and host. Paths and users of chat systems hold tokens."""
    scheme, separator, rest = url.partition("://")
    host = rest.partition("/")[0].partition("?")[0].partition("#")[0].rpartition("@")[2]
    shown = host if scheme.lower() in ("http", "https", "sqs") else "***"
    return f"{scheme[:20]}://{shown[:100]}" if separator else "the URL"
