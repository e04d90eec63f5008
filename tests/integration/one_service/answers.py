"""Requests that no client would send, and what the answers hold."""

import http.client
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlsplit

import httpx


def refusal(answer: httpx.Response) -> tuple[int, Any]:
    """Return an error's status and its detail, which must be all that it says."""
    body = answer.json()
    assert set(body) == {"detail"}
    return answer.status_code, body["detail"]


def raw(url: str, method: str, target: str, key: str | None = None) -> tuple[int, bytes]:
    """Send a request whose path nothing tidies up on its way."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(str(parts.hostname), parts.port, timeout=30)
    connection.putrequest(method, target, skip_accept_encoding=True)
    if key:
        connection.putheader("Authorization", f"Bearer {key}")
    connection.endheaders()
    answer = connection.getresponse()
    return answer.status, answer.read()


def events(answer: httpx.Response) -> Iterator[dict[str, Any]]:
    """Yield the job objects of a stream of events until it ends."""
    name = ""
    for line in answer.iter_lines():
        if line.startswith("event:"):
            name = line.removeprefix("event:").strip()
        elif line.startswith("data:"):
            assert name == "status"
            yield json.loads(line.removeprefix("data:"))


def pdf_of(pages: int) -> bytes:
    """Return a PDF of some empty pages."""
    kids = b" ".join(b"%d 0 R" % (3 + page) for page in range(pages))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[" + kids + b"]/Count %d>>" % pages,
        *[b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 100 32]>>"] * pages,
    ]
    body = b"%PDF-1.4\n"
    places = []
    for number, content in enumerate(objects, 1):
        places.append(len(body))
        body += b"%d 0 obj%sendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    head = b"xref\n0 %d\n0000000000 65535 f \n" % (len(objects) + 1)
    trailer = b"trailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (len(objects) + 1, len(body))
    return body + head + table + trailer
