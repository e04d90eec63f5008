"""Mail and chat through apprise: mailtos://, slack://, msteams:// and what else it knows."""

from typing import Any

from contract.errors import UsageError
from contract.settings import Settings
from producer.notify.base import DeliveryError, Message, host_of


class AppriseChannel:
    """Sends by the extra [notify]. Apprise connects without checks, so only settings may name such URLs."""

    def send(self, url: str, message: Message, settings: Settings) -> None:  # noqa: ARG002 - of the interface
        """Send a message; see `Channel.send`."""
        sender = _apprise().Apprise()
        if not sender.add(url):
            raise DeliveryError(f"{host_of(url)} is no URL that apprise knows")
        if not sender.notify(title=message.title, body=message.text):
            raise DeliveryError(f"{host_of(url)} did not accept it")


CHANNEL = AppriseChannel()


def _apprise() -> Any:
    try:
        import apprise
    except ImportError as error:
        raise UsageError("mail and chat need the extra: pip install 'trace-ocr-batch[notify]'") from error
    return apprise
