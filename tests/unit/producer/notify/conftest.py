"""A receiver of webhooks on this machine, which can misbehave."""

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest

from contract.settings import Settings

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
"""The example of the Standard Webhooks specification."""


@dataclass
class Receiver:
    """Accepts connections one by one; `answer` gets the socket and what was sent."""

    server: socket.socket
    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[socket.socket], None] = lambda connection: connection.sendall(status(204))

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server.getsockname()[1]}/hook?token=xoxb-secret"

    def serve(self) -> None:
        while True:
            try:
                connection, _ = self.server.accept()
            except OSError:
                return
            with connection:
                try:
                    self.requests.append(_read(connection))
                    self.answer(connection)
                except OSError:
                    continue


def status(code: int, headers: str = "", body: bytes = b"") -> bytes:
    return f"HTTP/1.1 {code} Status\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


def _read(connection: socket.socket) -> tuple[dict[str, str], bytes]:
    data = b""
    while b"\r\n\r\n" not in data:
        data += connection.recv(65_536)
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")[1:]
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    while len(body) < int(headers["content-length"]):
        body += connection.recv(65_536)
    return headers, body


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = Receiver(server)
        thread = threading.Thread(target=found.serve, daemon=True)
        thread.start()
        yield found
        server.shutdown(socket.SHUT_RDWR)
    thread.join(5)


@pytest.fixture
def sending(settings: Settings) -> Settings:
    """Settings that allow the receiver above."""
    return Settings(
        allowed_roots=settings.allowed_roots, notify_secret=SECRET, notify_networks=("127.0.0.0/8",)
    )
