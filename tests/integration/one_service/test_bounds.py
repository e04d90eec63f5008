"""Uploads beyond the bounds are refused before all of them has been taken."""

import contextlib
import socket
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.integration.one_service.answers import pdf_of, refusal
from tests.integration.service import Service
from trace_ocr import Client, TooManyRequestsError


@pytest.fixture(scope="module")
def crop(samples: Path) -> bytes:
    return (samples / "crops/0000.png").read_bytes()


def test_a_body_that_says_it_is_too_large_is_refused_before_it_is_sent(service: Service) -> None:
    parts = urlsplit(service.url)
    with socket.create_connection((str(parts.hostname), parts.port), timeout=30) as connection:
        connection.sendall(
            b"POST /recognition/ HTTP/1.1\r\nHost: x\r\nContent-Type: multipart/form-data; boundary=b\r\n"
            b"Content-Length: 10000000000\r\nAuthorization: Bearer " + service.key.encode() + b"\r\n\r\n"
        )
        answer = connection.recv(65_536)

    assert answer.startswith(b"HTTP/1.1 413")


@pytest.mark.parametrize(("held", "status"), [("", 401), ("read_key", 403)])
def test_without_a_key_of_the_scope_no_body_is_waited_for(service: Service, held: str, status: int) -> None:
    parts = urlsplit(service.url)
    key = getattr(service, held) if held else ""
    for path, kind in (("/recognition/", "multipart/form-data; boundary=b"), ("/jobs", "application/json")):
        with socket.create_connection((str(parts.hostname), parts.port), timeout=10) as connection:
            head = (
                f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n"
                f"Authorization: Bearer {key}\r\n\r\n"
            )
            connection.sendall(head.encode())
            assert connection.recv(65_536).startswith(f"HTTP/1.1 {status}".encode()), path


def test_a_body_of_unsaid_length_is_refused_once_it_is_too_large(service: Service, strict: str) -> None:
    for path, kind in (("/recognition/", "multipart/form-data; boundary=b"), ("/jobs", "application/json")):
        sent = _send_endless(strict, path, kind, service.key)
        assert sent.startswith(b"HTTP/1.1 413"), (path, sent[:200])


def _send_endless(url: str, path: str, kind: str, key: str) -> bytes:
    """Send a body piece by piece until the server answers; it must not take all of it."""
    parts = urlsplit(url)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n"
        f"Authorization: Bearer {key}\r\n\r\n"
    )
    beginning = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'
    with socket.create_connection((str(parts.hostname), parts.port), timeout=30) as connection:
        connection.sendall(head.encode() + b"%x\r\n%s\r\n" % (len(beginning), beginning))
        connection.settimeout(0.2)
        for _ in range(50):
            try:
                connection.sendall(b"10000\r\n" + b" " * 0x10000 + b"\r\n")
                return connection.recv(65_536)
            except TimeoutError:
                continue
            except ConnectionError:
                break
    return b"no answer after 3 MB"


def test_too_many_files_and_too_many_pages_are_refused(service: Service, strict: str, crop: bytes) -> None:
    plain = service.http(service.key, strict)
    files = [("files", (f"{n}.png", crop, "image/png")) for n in range(7)]
    pdf = [("files", ("three.pdf", pdf_of(3), "application/pdf"))]

    too_many = refusal(plain.post("/recognition/", files=files))
    too_long = refusal(plain.post("/recognition/", files=pdf))

    assert (too_many[0], "more than 6 files" in too_many[1]) == (413, True)
    assert too_long[0] in (400, 413)
    assert "the limit is 2" in too_long[1]


def test_more_than_the_queue_holds_is_a_429_that_says_when_to_come_back(
    service: Service, strict: str, crop: bytes
) -> None:
    files = [("files", (f"{n}.png", crop, "image/png")) for n in range(5)]

    answer = service.http(service.key, strict).post("/recognition/", files=files)

    assert refusal(answer)[0] == 429
    assert int(answer.headers["Retry-After"]) > 0
    with Client(strict, service.key, sleep=lambda seconds: None) as impatient:
        with pytest.raises(TooManyRequestsError) as raised:
            impatient.recognition([(f"{n}.png", crop) for n in range(5)])
        assert impatient.recognition([("one.png", crop)])
    assert raised.value.retry_after


def test_half_sent_requests_are_closed_and_the_others_answered(service: Service, strict: str) -> None:
    parts, before = urlsplit(strict), service.log().count("connection_closed")
    head = f"POST /recognition/ HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n".encode()
    body = b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 99\r\n\r\n--b\r\n"

    connections = [socket.create_connection((str(parts.hostname), parts.port), timeout=30) for _ in range(80)]
    for number, connection in enumerate(connections):
        with contextlib.suppress(ConnectionError):  # closed already
            connection.sendall(head + body if number > 70 else head)
    answer = service.http(url=strict).get("/version")
    ends = [end_of(connection) for connection in connections]

    assert answer.status_code == 200
    assert all(end.startswith((b"HTTP/1.1 408", b"HTTP/1.1 503")) or not end for end in ends)
    assert any(end.startswith(b"HTTP/1.1 408") for end in ends)
    # and far fewer lines than connections are logged
    assert 0 < service.log().count("connection_closed") - before < 40


def end_of(connection: socket.socket) -> bytes:
    """Return what a connection receives until it is closed."""
    data = b""
    with contextlib.suppress(ConnectionError), connection:
        while part := connection.recv(65_536):
            data += part
    return data
