"""A server of a folder's files as S3 objects: `python -m benchmarks.objects FOLDER SECONDS`."""

import asyncio
import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

BUCKET = "bucket"

_RANGE = re.compile(rb"\r\nrange: bytes=(\d+)-(\d+)", re.IGNORECASE)


class Server(asyncio.Protocol):
    """Answers each GET of an object with its bytes, or a range of them, and each HEAD, after the latency."""

    def __init__(self, folder: Path, latency: float) -> None:
        self._folder, self._latency, self._rest = folder, latency, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        *requests, self._rest = (self._rest + data).split(b"\r\n\r\n")
        for request in requests:
            answer = _answer(self._folder, request)
            asyncio.get_running_loop().call_later(self._latency, self._transport.write, answer)  # type: ignore[attr-defined]


def _answer(folder: Path, request: bytes) -> bytes:
    method, path, _ = request.split(b" ", 2)
    name = path.decode().partition("?")[0].removeprefix(f"/{BUCKET}/")
    asked = _RANGE.search(request)
    with (folder / name).open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        first, last = (int(asked[1]), min(int(asked[2]), size - 1)) if asked else (0, size - 1)
        file.seek(first)
        body = file.read(last - first + 1) if method == b"GET" else b""
    status = f"206 Partial Content\r\nContent-Range: bytes {first}-{last}/{size}" if asked else "200 OK"
    head = f'HTTP/1.1 {status}\r\nContent-Length: {last - first + 1}\r\nETag: "1"\r\n'
    return head.encode() + b"Last-Modified: Sun, 22 Nov 2026 08:00:00 GMT\r\n\r\n" + body


async def serve(folder: Path, latency: float) -> None:
    """Print the port, and answer until killed."""
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Server(folder, latency), "127.0.0.1", 0, backlog=256)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


@contextlib.contextmanager
def serving_objects(folder: Path, latency: float) -> Iterator[str]:
    """Yield the URL of a server in its own process; the folder's files are below `s3://bucket/`.

    Args:
        latency: seconds before each answer
    """
    command = [sys.executable, "-m", "benchmarks.objects", str(folder), str(latency)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield f"http://127.0.0.1:{process.stdout.readline().strip()}"
        finally:
            process.kill()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), float(sys.argv[2])))
