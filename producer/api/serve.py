"""The server process of the HTTP API."""

import asyncio
import signal
import socket
from typing import cast

import uvicorn

from contract.broker.server import look_at
from contract.logs import limit_repeats
from contract.settings import Settings
from contract.stop_signals import STOP_SIGNALS
from producer.api.app import make_app
from producer.api.security.connections import ACCEPTED_AT_ONCE, make_bounds
from producer.api.security.keys import Keyring
from producer.api.services import Services

GRACE_SECONDS = 10
"""Seconds that running requests have to end when the process is stopped."""


def serve(settings: Settings, keyring: Keyring) -> None:
    """Serve until SIGTERM or SIGINT; event streams end immediately, other requests have GRACE_SECONDS.

    Raises:
        BrokerError: the broker is a Redis Cluster
    """
    services = Services(settings, keyring)
    limit_repeats()
    look_at(services.client)
    config = uvicorn.Config(
        make_app(services),
        host=settings.api_address,
        port=settings.api_port,
        # The protocol's own type: uvicorn only calls it.
        http=cast("type[asyncio.Protocol]", make_bounds(settings).protocol),
        ws="none",
        backlog=ACCEPTED_AT_ONCE,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    for number in STOP_SIGNALS:
        # uvicorn raises the signal again after its shutdown: ignore it, so that the process exits with 0.
        signal.signal(number, lambda *_: None)
    _Server(config, services).run()


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._services = services

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the event streams, which would go on until the grace is over, then shut down."""
        # Not in the signal's handler: it may interrupt the event's lock.
        self._services.stopping.set()
        await super().shutdown(sockets)
