"""The cost of one GET of a small object for a client: processor time per object, and objects a second.

    python -m benchmarks.s3_clients [--objects 1000] [--rounds 5] [--concurrency 1,8,32,64]
                                     [--latency-ms 20] [--only obstore]

The server is a separate process, whose time is not counted; it answers every GET with the same 4 KB. All
contestants run in one process, one after the other in each round. Those whose package is not installed are
skipped. S3 itself adds TLS, which costs every client some time.
"""

import argparse
import asyncio
import contextlib
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import boto3
import urllib3
from botocore import UNSIGNED
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config

from benchmarks.rows import RESULTS, interleaved, machine
from contract.settings import Settings
from contract.storage import Storage
from contract.storage.s3 import S3Store
from contract.storage.s3_client import make_client

BODY = bytes(4096)
"""About the bytes of a crop of text as a PNG."""

HEADERS = (
    "HTTP/1.1 200 OK\r\n"
    f"Content-Length: {len(BODY)}\r\n"
    "Content-Type: image/png\r\n"
    'ETag: "620f0b67a91f7f74151bc5be745b7110"\r\n'
    "Last-Modified: Sun, 22 Nov 2026 08:00:00 GMT\r\n"
    "x-amz-request-id: 1\r\n\r\n"
)
ANSWER = HEADERS.encode() + BODY

CREDENTIALS = {"AWS_ACCESS_KEY_ID": "benchmark", "AWS_SECRET_ACCESS_KEY": "benchmark"}
REGION = "us-east-1"
LIMIT = 1 << 20
BUCKET, KEY = "bucket", "crops/2026/11/22/crop-00000017.png"
URI = f"s3://{BUCKET}/{KEY}"

Get = Callable[[], object]
Fetch = Callable[[int, int], None]
"""Fetches a number of objects, with a number of concurrent requests."""


class Server(asyncio.Protocol):
    """Answers each request head; a GET has no body."""

    def __init__(self, latency: float) -> None:
        self._latency = latency

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport, self._rest = transport, b""

    def data_received(self, data: bytes) -> None:
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        answer = ANSWER * len(requests)
        if self._latency:
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)  # type: ignore[attr-defined]
        else:
            self._transport.write(answer)  # type: ignore[attr-defined]


async def serve(latency: float) -> None:
    """Print the port, and answer until killed, each time after the latency."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(latency), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def server(latency_ms: float = 0) -> Iterator[str]:
    """Yield the URL of a server in its own process."""
    command = [sys.executable, "-m", "benchmarks.s3_clients", "--serve", f"--latency-ms={latency_ms}"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


def in_threads(get: Get) -> Fetch:
    """Fetch with one thread per concurrent request."""

    def fetch(objects: int, concurrency: int) -> None:
        def share(_: int) -> None:
            for _ in range(objects // concurrency):
                get()

        with ThreadPoolExecutor(concurrency) as pool:
            list(pool.map(share, range(concurrency)))

    return fetch


def products_path(url: str, *, fast: bool) -> Fetch:
    """The worker's own client, with or without the faster library."""
    settings = Settings(s3_endpoint_url=url, s3_region=REGION, s3_path_style=True)
    store = Storage(settings).at(URI) if fast else S3Store(make_client(settings))
    return in_threads(lambda: store.read(URI, LIMIT))


def boto(url: str, **config: Any) -> Fetch:
    """A bare get_object; 64 connections are kept unless `config` says otherwise."""
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=url,
        region_name=REGION,
        config=Config(**({"max_pool_connections": 64, "s3": {"addressing_style": "path"}} | config)),
    )
    return in_threads(lambda: client.get_object(Bucket=BUCKET, Key=KEY)["Body"].read())


def urllib3_signed(url: str) -> Fetch:
    """botocore's signature over urllib3's connection: the least that our own client would cost."""
    credentials = boto3.session.Session().get_credentials()
    signer = S3SigV4Auth(credentials, "s3", REGION)
    pool = urllib3.PoolManager(maxsize=64, block=True)

    def get() -> bytes:
        request = AWSRequest("GET", f"{url}/{BUCKET}/{KEY}")
        signer.add_auth(request)
        return pool.request("GET", request.url, headers=dict(request.headers)).data

    return in_threads(get)


def obstore_store(url: str, *, provider: bool = False) -> Any:
    """The Rust object_store's S3, with its own credentials or botocore's."""
    from obstore.auth.boto3 import Boto3CredentialProvider
    from obstore.store import S3Store

    options: dict[str, Any] = {"credential_provider": Boto3CredentialProvider()} if provider else {}
    return S3Store(BUCKET, endpoint=url, region=REGION, client_options={"allow_http": True}, **options)


def obstore_threads(url: str, *, provider: bool = False) -> Fetch:
    """The synchronous API, from threads."""
    import obstore

    store = obstore_store(url, provider=provider)
    return in_threads(lambda: bytes(obstore.get(store, KEY).bytes()))


def obstore_async(url: str) -> Fetch:
    """The asynchronous API in one thread; it has no call for many objects."""
    import obstore

    store = obstore_store(url)

    async def get() -> bytes:
        return bytes(await (await obstore.get_async(store, KEY)).bytes_async())

    return lambda objects, concurrency: asyncio.run(_gathered(get, objects, concurrency))


def opendal_threads(url: str) -> Fetch:
    """Apache OpenDAL, the other Rust library with a Python package."""
    import opendal

    operator = opendal.Operator("s3", endpoint=url, bucket=BUCKET, region=REGION)
    return in_threads(lambda: operator.read(KEY))


def aiobotocore_async(url: str) -> Fetch:
    """botocore over aiohttp, in one thread."""
    from aiobotocore.session import get_session

    async def run(objects: int, concurrency: int) -> None:
        async with get_session().create_client("s3", endpoint_url=url, region_name=REGION) as client:

            async def get() -> bytes:
                answer = await client.get_object(Bucket=BUCKET, Key=KEY)
                async with answer["Body"] as body:
                    return await body.read()

            await _gathered(get, objects, concurrency)

    return lambda objects, concurrency: asyncio.run(run(objects, concurrency))


async def _gathered(get: Callable[[], Any], objects: int, concurrency: int) -> None:
    async def share() -> None:
        for _ in range(objects // concurrency):
            await get()

    await asyncio.gather(*(share() for _ in range(concurrency)))


def contestants(url: str) -> dict[str, Fetch]:
    """Return the clients that are installed here, by name."""
    when_required = {"response_checksum_validation": "when_required"}
    found = {
        "trace-ocr, boto3": products_path(url, fast=False),
        "boto3, as it comes": boto(url, max_pool_connections=10),
        "boto3, 64 connections": boto(url),
        "boto3, no checksum asked for": boto(url, **when_required),
        "boto3, keep-alive probes": boto(url, tcp_keepalive=True, **when_required),
        "boto3, unsigned": boto(url, signature_version=UNSIGNED, **when_required),
        "botocore's signature, urllib3": urllib3_signed(url),
    }
    if importlib.util.find_spec("obstore"):
        found |= {
            "trace-ocr, obstore": products_path(url, fast=True),
            "obstore, threads": obstore_threads(url),
            "obstore, threads, botocore's credentials": obstore_threads(url, provider=True),
            "obstore, asyncio": obstore_async(url),
        }
    if importlib.util.find_spec("opendal"):
        found["opendal, threads"] = opendal_threads(url)
    if importlib.util.find_spec("aiobotocore"):
        found["aiobotocore"] = aiobotocore_async(url)
    return found


def measured(fetch: Fetch, objects: int, concurrency: int, rates: list[float]) -> Callable[[], float]:
    """Return a measurement of microseconds of processor time per object; it records objects/s in `rates`."""
    fetch(2 * concurrency, concurrency)  # opens connections before the measurement

    def measure() -> float:
        wall, processor = time.perf_counter(), time.process_time()
        fetch(objects, concurrency)
        rates.append(objects / (time.perf_counter() - wall))
        return (time.process_time() - processor) / objects * 1e6

    return measure


def main() -> None:
    """Measure, print a table, and save it."""
    options = _options()
    if options.serve:
        asyncio.run(serve(options.latency_ms / 1000))
        return
    os.environ.update(CREDENTIALS)
    concurrencies = [int(each) for each in options.concurrency.split(",")]
    table: dict[str, dict[int, tuple[float, float]]] = {}
    with server(options.latency_ms) as url:
        clients = {name: fetch for name, fetch in contestants(url).items() if options.only in name}
        for concurrency in concurrencies:
            rates: dict[str, list[float]] = {name: [] for name in clients}
            runs = {
                name: measured(fetch, options.objects, concurrency, rates[name])
                for name, fetch in clients.items()
            }
            for name, used in interleaved(runs, options.rounds).items():
                medians = statistics.median(used), statistics.median(rates[name])
                table.setdefault(name, {})[concurrency] = medians
    _report(table, concurrencies)


def _report(table: dict[str, dict[int, tuple[float, float]]], concurrencies: list[int]) -> None:
    lines = [
        f"Measured on {machine()}: microseconds of processor time per object, and objects a second.",
        "",
        "| concurrent GETs | " + " | ".join(map(str, concurrencies)) + " |",
        "|---" * (len(concurrencies) + 1) + "|",
    ]
    for name, row in table.items():
        cells = " | ".join(f"{used:.0f} us, {rate:,.0f}/s" for used, rate in row.values())
        lines.append(f"| {name} | {cells} |")
    print("\n".join(lines))
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "s3_clients.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (RESULTS / "s3_clients.json").write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--objects", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--concurrency", default="1,8,32,64")
    parser.add_argument("--latency-ms", type=float, default=0, help="server latency before each answer")
    parser.add_argument("--only", default="", help="measure only contestants whose name contains this")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


if __name__ == "__main__":
    main()
