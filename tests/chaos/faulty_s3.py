"""A reverse proxy in front of an S3 endpoint that misbehaves on request: the network and S3 on a bad day."""

import contextlib
import http.client
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit

HOLD_SECONDS = 60
"""Longest time that a held request waits for its client to give up."""

LIST = "LIST"
"""The method under which rules know a listing, whose key is the prefix that it asks for."""

RANGE = "RANGE"
"""The method under which rules know the reading of a range: planning reads the first bytes of page images."""

Forward = Callable[[], tuple[int, list[tuple[str, str]], bytes]]
"""Sends the request on and returns S3's own answer: status, headers, body."""

Fault = Callable[["Exchange", Forward], None]
"""What is done to a request instead of answering it properly."""


@dataclass
class Rule:
    """Requests that go wrong: of the method (any, if empty), under the prefix; all, or the next `left`."""

    fault: Fault
    method: str
    prefix: str
    left: int | None
    hits: list[str] = field(default_factory=list)

    def takes(self, method: str, key: str) -> bool:
        return self.method in ("", method) and key.startswith(self.prefix) and self.left != 0

    def hit(self, method: str, key: str) -> None:
        self.hits.append(f"{method} {key}")
        if self.left:
            self.left -= 1


class FaultyS3:
    """The proxy; a rule holds until it is used up or lifted, the newest goes first."""

    def __init__(self, endpoint: str) -> None:
        self.endpoint = urlsplit(endpoint)
        self.released = threading.Event()
        self._rules: list[Rule] = []
        self._changed = threading.Condition()
        handler = type("BoundExchange", (Exchange,), {"proxy": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}{self.endpoint.path}"

    def fail(self, fault: Fault, method: str = "", prefix: str = "", times: int | None = None) -> Rule:
        rule = Rule(fault, method, prefix, times)
        with self._changed:
            self._rules.insert(0, rule)
        return rule

    def lift(self) -> None:
        """Behave from now on."""
        with self._changed:
            self._rules.clear()

    def wait_for(self, rule: Rule, hits: int = 1, timeout: float = 120) -> None:
        with self._changed:
            arrived = self._changed.wait_for(lambda: len(rule.hits) >= hits, timeout)
        assert arrived, f"not {hits} requests of {rule.method} {rule.prefix!r}, but {rule.hits}"

    def fault_for(self, method: str, key: str) -> Fault | None:
        with self._changed:
            rule = next((rule for rule in self._rules if rule.takes(method, key)), None)
            if rule is None:
                return None
            rule.hit(method, key)
            self._changed.notify_all()
            return rule.fault

    def close(self) -> None:
        self.released.set()
        self._server.shutdown()
        self._server.server_close()


class Exchange(BaseHTTPRequestHandler):
    """One request and its answer."""

    protocol_version = "HTTP/1.1"
    proxy: ClassVar[FaultyS3]

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        method, key = self._name()
        fault = self.proxy.fault_for(method, key)
        # A client that gave up on a held request has closed its connection.
        with contextlib.suppress(ConnectionError):
            if fault:
                fault(self, lambda: self._forward(body))
            else:
                self.answer(*self._forward(body))

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 - the base class names them

    def _name(self) -> tuple[str, str]:
        """Return the method and the key that rules know the request by."""
        url = urlsplit(self.path)
        # The path of an Azure account comes before those of its containers.
        path = unquote(url.path).removeprefix(self.proxy.endpoint.path)
        _, _, key = path.lstrip("/").partition("/")
        if self.command == "GET" and "Range" in self.headers:
            return RANGE, key
        if key or self.command != "GET":
            return self.command, key
        return LIST, parse_qs(url.query).get("prefix", [""])[0]

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        endpoint = self.proxy.endpoint
        connection = http.client.HTTPConnection(str(endpoint.hostname), endpoint.port, timeout=HOLD_SECONDS)
        with contextlib.closing(connection):
            dropped = ("expect", "connection")
            headers = {name: value for name, value in self.headers.items() if name.lower() not in dropped}
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()

    def answer(
        self, status: int, headers: list[tuple[str, str]], body: bytes, sent: int | None = None
    ) -> None:
        """Send an answer, or its first `sent` bytes only and then hang up."""
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in ("connection", "transfer-encoding", "content-length"):
                self.send_header(name, value)
        self.send_header("Content-Length", str(self._length(headers, body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[:sent])
        self.close_connection = self.close_connection or sent is not None

    def _length(self, headers: list[tuple[str, str]], body: bytes) -> int:
        """A HEAD's answer tells the length of a body that it does not carry."""
        told = {name.lower(): value for name, value in headers}.get("content-length")
        return int(told) if told and self.command == "HEAD" else len(body)

    def log_message(self, *_: object) -> None:
        """Say nothing: the rules remember what they hit."""


def refuses(status: int, code: str) -> Fault:
    """S3 answers with an error and does nothing."""

    def fault(exchange: Exchange, _: Forward) -> None:
        body = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>injected</Message></Error>".encode()
        exchange.answer(status, [("Content-Type", "application/xml")], body)

    return fault


def holds(exchange: Exchange, _: Forward) -> None:
    """S3 takes the request and never answers."""
    exchange.proxy.released.wait(HOLD_SECONDS)
    exchange.close_connection = True


def cuts(exchange: Exchange, forward: Forward) -> None:
    """The connection breaks in the middle of the answer's body."""
    status, headers, body = forward()
    exchange.answer(status, headers, body, sent=len(body) // 2)


def forgets_to_answer(exchange: Exchange, forward: Forward) -> None:
    """S3 does as it is told, and the connection breaks before its answer."""
    forward()
    exchange.close_connection = True


@contextlib.contextmanager
def faulty(endpoint: str) -> Iterator[FaultyS3]:
    """Run the proxy in front of an endpoint."""
    proxy = FaultyS3(endpoint)
    try:
        yield proxy
    finally:
        proxy.close()
