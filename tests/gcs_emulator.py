"""A Google Cloud Storage on this machine, for tests: the part of its XML API that obstore uses.

Written after https://cloud.google.com/storage/docs/xml-api/reference-methods. The emulators on PyPI serve the
JSON API, which obstore does not use.
"""

import contextlib
import hashlib
import http
import itertools
import re
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape

PAGE = 1_000
"""Objects of one page of a listing, as in GCS."""

TOKEN = "test-token"
"""The OAuth token that is accepted."""


@dataclass(frozen=True)
class Blob:
    """One generation of an object."""

    data: bytes
    generation: int
    modified: float

    @property
    def etag(self) -> str:
        return f'"{hashlib.md5(self.data).hexdigest()}"'


@dataclass
class GcsEmulator:
    """Buckets in memory; thread-safe.

    Args:
        buckets: the objects of each bucket, by key
        uploads: the parts of each multipart upload that is not finished, by (bucket, key, upload)
        page: objects of one page of a listing
    """

    buckets: dict[str, dict[str, Blob]] = field(default_factory=dict)
    uploads: dict[tuple[str, str, str], dict[int, bytes]] = field(default_factory=dict)
    page: int = PAGE
    lock: threading.RLock = field(default_factory=threading.RLock)
    generations: Iterator[int] = field(default_factory=lambda: itertools.count(1_700_000_000_000_000))

    def put(self, bucket: str, key: str, data: bytes) -> Blob:
        """Store an object as its next generation."""
        with self.lock:
            blob = Blob(data, next(self.generations), time.time())
            self.buckets[bucket][key] = blob
            return blob


Answer = tuple[int, dict[str, str], bytes]


class Handler(BaseHTTPRequestHandler):
    """One request."""

    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True
    emulator: ClassVar[GcsEmulator]

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        url = urlsplit(self.path)
        self.query = {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}
        bucket, _, key = (unquote(part) for part in url.path.lstrip("/").partition("/"))
        if self.headers.get("Authorization") != f"Bearer {TOKEN}":
            status, headers, data = error(401, "AuthenticationRequired")
        elif bucket not in self.emulator.buckets:
            status, headers, data = error(404, "NoSuchBucket")
        else:
            with self.emulator.lock:
                status, headers, data = getattr(self, f"_{self.command.lower()}")(bucket, key, body)
        self.send_response_only(status)
        for name, value in {"Content-Length": str(len(data)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = _serve  # noqa: N815 - the base class names them

    def _get(self, bucket: str, key: str, _: bytes) -> Answer:
        if not key:
            return self._list(bucket)
        blob = self.emulator.buckets[bucket].get(key)
        if blob is None:
            return error(404, "NoSuchKey")
        if self.headers.get("If-Match", blob.etag) != blob.etag:
            return error(412, "PreconditionFailed")
        headers = {
            "ETag": blob.etag,
            "Last-Modified": formatdate(blob.modified, usegmt=True),
            "x-goog-generation": str(blob.generation),
        }
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not asked:
            return 200, headers, blob.data
        start, size = int(asked[1]), len(blob.data)
        if start >= size:
            return error(416, "InvalidRange")
        part = blob.data[start : int(asked[2]) + 1 if asked[2] else size]
        return 206, headers | {"Content-Range": f"bytes {start}-{start + len(part) - 1}/{size}"}, part

    def _head(self, bucket: str, key: str, body: bytes) -> Answer:
        return self._get(bucket, key, body)

    def _put(self, bucket: str, key: str, body: bytes) -> Answer:
        if "partNumber" in self.query:
            parts = self.emulator.uploads.get((bucket, key, self.query["uploadId"]))
            if parts is None:
                return error(404, "NoSuchUpload")
            parts[int(self.query["partNumber"])] = body
            return 200, {"ETag": f'"{hashlib.md5(body).hexdigest()}"'}, b""
        held = self.emulator.buckets[bucket].get(key)
        expected = self.headers.get("x-goog-if-generation-match")
        if expected is not None and int(expected) != (held.generation if held else 0):
            return error(412, "PreconditionFailed")
        blob = self.emulator.put(bucket, key, body)
        return 200, {"ETag": blob.etag, "x-goog-generation": str(blob.generation)}, b""

    def _post(self, bucket: str, key: str, body: bytes) -> Answer:
        if "uploads" in self.query:
            upload = f"upload-{next(self.emulator.generations)}"
            self.emulator.uploads[bucket, key, upload] = {}
            names = f"<Bucket>{bucket}</Bucket><Key>{escape(key)}</Key><UploadId>{upload}</UploadId>"
            return xml(f"<InitiateMultipartUploadResult>{names}</InitiateMultipartUploadResult>")
        parts = self.emulator.uploads.pop((bucket, key, self.query["uploadId"]), None)
        if parts is None:
            return error(404, "NoSuchUpload")
        numbers = [int(number) for number in re.findall(rb"<PartNumber>(\d+)</PartNumber>", body)]
        blob = self.emulator.put(bucket, key, b"".join(parts[number] for number in numbers))
        status, headers, data = xml(
            f"<CompleteMultipartUploadResult><Bucket>{bucket}</Bucket><Key>{escape(key)}</Key>"
            f"<ETag>{escape(blob.etag)}</ETag></CompleteMultipartUploadResult>"
        )
        return status, headers | {"x-goog-generation": str(blob.generation)}, data

    def _delete(self, bucket: str, key: str, _: bytes) -> Answer:
        if "uploadId" in self.query:
            left = self.emulator.uploads.pop((bucket, key, self.query["uploadId"]), None)
            return (204, {}, b"") if left is not None else error(404, "NoSuchUpload")
        if self.emulator.buckets[bucket].pop(key, None) is None:
            return error(404, "NoSuchKey")
        return 204, {}, b""

    def _list(self, bucket: str) -> Answer:
        """Answer one page: keys in the order of UTF-8, and with a delimiter the prefixes that they share."""
        prefix, delimiter = self.query.get("prefix", ""), self.query.get("delimiter", "")
        after = self.query.get("continuation-token") or self.query.get("start-after", "")
        held = self.emulator.buckets[bucket]
        entries: dict[str, Blob | None] = {}
        for key in sorted(held, key=str.encode):
            end = key.find(delimiter, len(prefix)) if delimiter else -1
            name = key if end < 0 else key[: end + 1]
            if key.startswith(prefix) and name.encode() > after.encode():
                entries.setdefault(name, held[key] if end < 0 else None)
        page = dict(itertools.islice(entries.items(), self.emulator.page))
        more = len(entries) > len(page)
        token = f"<NextContinuationToken>{escape(list(page)[-1])}</NextContinuationToken>" if more else ""
        rows = "".join(itertools.starmap(_row, page.items()))
        truncated = str(more).lower()
        return xml(
            f"<ListBucketResult><Name>{bucket}</Name><Prefix>{escape(prefix)}</Prefix>"
            f"<IsTruncated>{truncated}</IsTruncated>{token}{rows}</ListBucketResult>"
        )

    def log_message(self, *_: object) -> None:
        """Say nothing."""


def _row(name: str, blob: Blob | None) -> str:
    if blob is None:
        return f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>"
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(blob.modified))
    return (
        f"<Contents><Key>{escape(name)}</Key><Generation>{blob.generation}</Generation>"
        f"<LastModified>{seconds}.{int(blob.modified % 1 * 1000):03}Z</LastModified>"
        f"<ETag>{escape(blob.etag)}</ETag><Size>{len(blob.data)}</Size></Contents>"
    )


def xml(text: str) -> Answer:
    """Return an answer in XML."""
    return 200, {"Content-Type": "application/xml"}, f"<?xml version='1.0' encoding='UTF-8'?>{text}".encode()


def error(status: int, code: str) -> Answer:
    """Return the answer that says why a request was refused."""
    _, headers, body = xml(
        f"<Error><Code>{code}</Code><Message>{http.HTTPStatus(status).phrase}</Message></Error>"
    )
    return status, headers, body


@contextlib.contextmanager
def serving(emulator: GcsEmulator) -> Iterator[str]:
    """Serve the emulator; yield its endpoint."""
    handler = type("BoundHandler", (Handler,), {"emulator": emulator})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
