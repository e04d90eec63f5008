"""Listing a large prefix on S3 that takes 50 ms a page: one request after the other, and the product's way.

    python -m benchmarks.listing [--keys 1000000] [--latency-ms 50]

The server is a separate process. It computes the pages of a bucket that has no objects: one prefix with all
keys (`flat`), and one with a folder for each 100 (`tree`). A third contestant is boto3's own paginator, which
lists one page after the other too.
"""

import argparse
import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any
from unittest import mock
from urllib.parse import parse_qs, urlsplit
from urllib.request import urlopen

from benchmarks.rows import Row
from contract.settings import Settings
from contract.storage.s3 import S3Store
from contract.storage.s3_client import make_client

LATENCY_MS = 50
"""What S3 takes for a page of 1,000 keys, about."""

PAGE = 1_000
TARGET = 8
"""Over boto3's paginator, which is how the product listed before."""

SOME = 100_000
"""Keys that are listed one page after the other, at most."""

Measured = dict[str, dict[str, float]]
FORMS: dict[str, Callable[[int], str]] = {
    "flat": lambda number: f"flat/crop-{number:09}.png",
    "tree": lambda number: f"tree/scan-{number // 100:06}/crop-{number % 100:04}.png",
}
CREDENTIALS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
NOT_ALIGNED = 137
"""The first number: a store whose pages end where its numbers are round would be a special case."""

XML = '<?xml version="1.0" encoding="UTF-8"?>\n<ListBucketResult xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
ENTRY = (
    "<LastModified>2026-11-22T08:00:00.000Z</LastModified>"
    "<ETag>&quot;620f0b67a91f7f74151bc5be745b7110&quot;</ETag><Size>4096</Size>"
    "<StorageClass>STANDARD</StorageClass></Contents>"
)


class Listing:
    """The answers of a bucket with so many keys of each form."""

    def __init__(self, keys: int) -> None:
        self._keys = range(NOT_ALIGNED, NOT_ALIGNED + keys)

    def answer(self, target: str) -> bytes:
        """Return the page that a request asks for, as XML."""
        asked = {name: values[0] for name, values in parse_qs(urlsplit(target).query).items()}
        key_of = FORMS[asked["prefix"].rstrip("/")]
        start = int(asked.get("continuation-token", 0)) or self._behind(asked.get("start-after", ""), key_of)
        start = start or self._keys.start
        end = min(start + PAGE, self._keys.stop)
        entries = ENTRY.join(f"<Contents><Key>{key_of(number)}</Key>" for number in range(start, end)) + ENTRY
        more = f"<NextContinuationToken>{end}</NextContinuationToken>" if end < self._keys.stop else ""
        truncated = str(bool(more)).lower()
        return (
            f"{XML}<Name>bucket</Name><Prefix>{asked['prefix']}</Prefix><KeyCount>{end - start}</KeyCount>"
            f"<MaxKeys>{PAGE}</MaxKeys><EncodingType>url</EncodingType><IsTruncated>{truncated}</IsTruncated>"
            f"{more}{entries}</ListBucketResult>"
        ).encode()

    def _behind(self, after: str, key_of: Callable[[int], str]) -> int:
        low, high = self._keys.start, self._keys.stop
        while low < high:
            middle = (low + high) // 2
            low, high = (middle + 1, high) if key_of(middle) <= after else (low, middle)
        return low


class Server(asyncio.Protocol):
    """Answers each request after the latency; `count` is of all connections."""

    count = 0

    def __init__(self, listing: Listing, latency: float) -> None:
        self._listing, self._latency = listing, latency

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._rest = transport, b""

    def data_received(self, data: bytes) -> None:
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in requests:
            target = request.split(b" ", 2)[1].decode()
            if target.startswith("/count"):
                self._write(str(Server.count).encode())
                continue
            Server.count += 1
            arrived = asyncio.get_running_loop().time()
            body = self._listing.answer(target)
            asyncio.get_running_loop().call_at(arrived + self._latency, self._write, body)

    def _write(self, body: bytes) -> None:
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nContent-Type: application/xml\r\n\r\n"
        self._transport.write(head.encode() + body)  # type: ignore[attr-defined]


async def serve(keys: int, latency_ms: float) -> None:
    """Print the port, and answer until killed."""
    listing = Listing(keys)
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(listing, latency_ms / 1000), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def server(keys: int, latency_ms: float) -> Iterator[str]:
    """Yield the URL of a server in its own process."""
    command = [sys.executable, "-m", "benchmarks.listing", "--serve", f"--keys={keys}"]
    command.append(f"--latency-ms={latency_ms}")
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def with_boto3(settings: Settings, form: str) -> int:
    """List some pages with boto3's paginator, as nearly everyone does; return the number of keys."""
    paginator = make_client(settings).get_paginator("list_objects_v2")
    pages = paginator.paginate(Bucket="bucket", Prefix=f"{form}/", PaginationConfig={"MaxItems": SOME})
    return sum(len(page["Contents"]) for page in pages)


def with_product(settings: Settings, form: str) -> int:
    """List with the product's store, and check the order; return the number of keys."""
    store = S3Store(make_client(settings), listers=settings.list_threads)
    found = store.objects(f"s3://bucket/{form}/")
    key_of, number = FORMS[form], NOT_ALIGNED - 1
    # One lister is as fast on the first keys as on all.
    for number, (uri, _) in enumerate(
        found if settings.list_threads > 1 else islice(found, SOME), NOT_ALIGNED
    ):
        # Comparing each key would take longer than listing it.
        assert number % 997 or uri == f"s3://bucket/{key_of(number)}", uri
    return number + 1 - NOT_ALIGNED


def measured(url: str, contestant: Callable[[Settings, str], int], **given: Any) -> Measured:
    """Return a contestant's keys a second, and its requests for each page, for each form of keys."""
    settings = Settings(s3_endpoint_url=url, s3_region="us-east-1", s3_path_style=True, **given)
    found: Measured = {}
    for form in FORMS:
        before, started = count(url), time.perf_counter()
        keys = contestant(settings, form)
        seconds = time.perf_counter() - started
        found[form] = {
            "keys": keys,
            "keys/s": keys / seconds,
            "requests/page": (count(url) - before) * PAGE / keys,
        }
    return found


def count(url: str) -> int:
    """Return the number of requests that the server has answered."""
    with urlopen(f"{url}/count") as answer:  # noqa: S310 - our own server
        return int(answer.read())


def listing(_: Path, keys: int, latency_ms: float = LATENCY_MS) -> tuple[list[Row], dict[str, Any]]:
    """Measure, and return the rows and details."""
    with mock.patch.dict(os.environ, CREDENTIALS), server(keys, latency_ms) as url:
        ours = measured(url, with_product)
        one = measured(url, with_product, list_threads=1)
        boto3 = measured(url, with_boto3)
    assert all(found["keys"] == keys for found in ours.values())
    rows = []
    for form in FORMS:
        name = f"listing {keys:,} keys on S3, {latency_ms:g} ms a page, {form}"
        rows += [
            Row(name, ours[form]["keys/s"], "keys/s"),
            Row(f"{name}, over our own, one at a time", ours[form]["keys/s"] / one[form]["keys/s"], "times"),
            Row(
                f"{name}, over boto3's paginator",
                ours[form]["keys/s"] / boto3[form]["keys/s"],
                "times",
                TARGET,
            ),
            Row(f"{name}, requests a page", ours[form]["requests/page"], "requests", 1.5, at_most=True),
        ]
    return rows, {"listing": {"ours": ours, "one lister": one, "boto3": boto3}}


def main() -> None:
    """Measure as the arguments say, or be the server."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--latency-ms", type=float, default=LATENCY_MS)
    parser.add_argument("--serve", action="store_true")
    given = parser.parse_args()
    if given.serve:
        asyncio.run(serve(given.keys, given.latency_ms))
        return
    rows, _ = listing(Path(), given.keys, given.latency_ms)
    for row in rows:
        print("  ".join(row.cells()))


if __name__ == "__main__":
    main()
