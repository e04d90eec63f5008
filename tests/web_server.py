"""A web server with its own certificate, for tests: it serves what it is given, and misbehaves on request."""

import contextlib
import datetime
import hashlib
import ipaddress
import re
import ssl
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

MODIFIED = "Thu, 01 Jan 2026 00:00:00 GMT"


@dataclass
class WebServer:
    """What is served, and how.

    Args:
        files: by their paths with the query, percent-encoded
        statuses: what is answered instead, by path: a status and headers, in turn; the last stays
        ranges: whether it knows ranges
        head: whether it knows HEAD
        cuts: how many of the next bodies end half-way
        requests: what was asked: method, path, and range
    """

    certificate: Path
    url: str = ""
    files: dict[str, bytes] = field(default_factory=dict)
    statuses: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    ranges: bool = True
    head: bool = True
    cuts: int = 0
    requests: list[tuple[str, str, str]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    web: ClassVar[WebServer]

    def _serve(self) -> None:
        web, path = self.web, self.path
        web.requests.append((self.command, path, self.headers.get("Range", "")))
        body = web.files.get(path, b"")
        if path in web.statuses:
            answers = web.statuses[path]
            status, headers = answers.pop(0) if len(answers) > 1 else answers[0]
            self._answer(status, headers, b"")
        elif self.command == "HEAD" and not web.head:
            self._answer(405, {}, b"")
        elif path not in web.files:
            self._answer(404, {}, b"")
        else:
            self._range(body)

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815 - the base class names them

    def _range(self, body: bytes) -> None:
        headers = {"ETag": f'"{hashlib.md5(body).hexdigest()}"', "Last-Modified": MODIFIED}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked or not self.web.ranges:
            self._answer(200, headers, body)
            return
        start = int(asked[1])
        part = body[start : int(asked[2]) + 1 if asked[2] else None]
        if not part:
            self._answer(416, {}, b"")
            return
        told = f"bytes {start}-{start + len(part) - 1}/{len(body)}"
        self._answer(206, {**headers, "Content-Range": told}, part)

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "HEAD":
            return
        cut = bool(self.web.cuts and body)
        self.web.cuts -= cut
        self.wfile.write(body[: len(body) // 2] if cut else body)
        self.close_connection = self.close_connection or cut

    def log_message(self, *_: object) -> None:
        """Say nothing: the server remembers what it was asked."""


@contextlib.contextmanager
def serving(folder: Path) -> Iterator[WebServer]:
    """Run a server for https://localhost; its certificate, which is its own authority, is in the folder."""
    web = WebServer(folder / "certificate.pem")
    key = folder / "key.pem"
    certify(web.certificate, key)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(web.certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("BoundHandler", (Handler,), {"web": web}))
    server.daemon_threads = True
    server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    web.url = f"https://localhost:{server.server_address[1]}"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield web
    finally:
        server.shutdown()
        server.server_close()


def certify(certificate: Path, key_file: Path) -> None:
    """Write a certificate for localhost that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "tests")])
    now = datetime.datetime.now(datetime.UTC)
    names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    key_file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
