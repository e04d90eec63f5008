"""Webhooks: POSTs after the Standard Webhooks specification, signed, to public addresses only."""

import ipaddress
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime

import httpcore
import httpx
from standardwebhooks import Webhook

from contract.addresses import CheckedBackend, Network
from contract.errors import AddressRefusedError, SettingsError
from contract.settings import Settings, variable_of
from producer.notify import is_allowed
from producer.notify.base import DeliveryError, Message, ReceiverGoneError, host_of

SECONDS = 15.0
"""Longest time of one delivery; the specification recommends 15 to 30 seconds."""

GONE = 410
"""The status by which a receiver says that it wants no more."""

MAX_PAUSE = 86_400.0
"""Longest pause in seconds that a receiver can ask for."""


class WebhookChannel:
    """Sends to http:// and https:// URLs. No redirect is followed, and no more than the status is read."""

    def send(self, url: str, message: Message, settings: Settings) -> None:
        """Send a message; see `Channel.send`."""
        headers: dict[bytes | str, bytes | str] = {
            "content-type": "application/json",
            "user-agent": "trace-ocr-batch",
            "connection": "close",
            "webhook-id": message.id,
            "webhook-timestamp": str(int(message.at)),
            "webhook-signature": " ".join(_signatures(message, settings)),
        }
        status, pause = _posted(url, headers, message.body, settings)
        if status == GONE:
            raise ReceiverGoneError(f"{host_of(url)} answered 410: it wants no more")
        if not 200 <= status < 300:
            redirected = ", a redirect, which is not followed" if 300 <= status < 400 else ""
            raise DeliveryError(f"{host_of(url)} answered {status}{redirected}", pause)


CHANNEL = WebhookChannel()


def _signatures(message: Message, settings: Settings) -> Iterator[str]:
    """Yield a signature by each secret: while secrets are exchanged, there are two."""
    secrets = settings.notify_secret.get_secret_value() if settings.notify_secret else ""
    names = [secret.strip() for secret in secrets.split(",") if secret.strip()]
    if not names:
        raise DeliveryError(
            "webhooks are signed: set TRACE_OCR_NOTIFY_SECRET to whsec_ and 24 to 64 bytes in base64"
        )
    at = datetime.fromtimestamp(int(message.at), UTC)
    for secret in names:
        try:
            yield Webhook(secret).sign(message.id, at, message.body.decode())
        except Exception as error:
            # Whatever the library says about the secret may hold it.
            raise SettingsError("TRACE_OCR_NOTIFY_SECRET is not whsec_ and bytes in base64") from error


def _posted(
    url: str, headers: Mapping[bytes | str, bytes | str], body: bytes, settings: Settings
) -> tuple[int, float]:
    """Return the status of the answer, and for how many seconds the receiver asks to be left alone."""
    backend = CheckedBackend(networks_of(settings), variable_of("notify_networks"), SECONDS)
    try:
        target = httpx.URL(url)
        if not is_allowed(target.host, settings.notify_hosts):
            raise DeliveryError(f"{host_of(url)} is not in TRACE_OCR_NOTIFY_HOSTS")
        address = httpcore.URL(
            scheme=target.raw_scheme, host=target.raw_host, port=target.port, target=target.raw_path
        )
        with (
            httpcore.ConnectionPool(httpx.create_ssl_context(), network_backend=backend) as pool,
            pool.stream("POST", address, headers=headers, content=body) as response,
        ):
            headers_back = {name.lower(): value for name, value in response.headers}
            retry_after = headers_back.get(b"retry-after", b"")
            return response.status, min(float(retry_after), MAX_PAUSE) if retry_after.isdigit() else 0.0
    except AddressRefusedError as error:
        raise DeliveryError(str(error)) from error
    except (httpcore.TimeoutException, TimeoutError) as error:
        raise DeliveryError(f"{host_of(url)} did not answer in {SECONDS:g} s") from error
    except (httpx.InvalidURL, httpcore.NetworkError, httpcore.ProtocolError, OSError, ValueError) as error:
        raise DeliveryError(f"{host_of(url)} cannot be reached: {type(error).__name__}") from error


def networks_of(settings: Settings) -> list[Network]:
    """Return the private networks that notifications may reach."""
    return [ipaddress.ip_network(network) for network in settings.notify_networks]
