"""Each way to reach a Redis, for the ledger and for Celery: IPv4, IPv6, a Unix socket, mutual TLS."""

import asyncio
import contextlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from kombu import Connection

from contract.broker.app import make_app, make_redis, queue_names, send_nudge
from contract.records import Nudge
from contract.settings import Settings
from producer.local.embedded import find_server
from tests.chaos.scene import free_port
from tests.web_server import certify


@pytest.fixture(scope="module")
def addresses(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The URLs of one server, and where clients with no certificate of theirs find it."""
    folder, port = tmp_path_factory.mktemp("redis"), free_port()
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    certify(certificate, key)
    listening = {"port": str(port), "bind": "127.0.0.1 ::1", "unixsocket": f"{folder}/redis.sock"}
    words = [word for name, value in {**listening, "save": ""}.items() for word in (f"--{name}", value)]
    server = subprocess.Popen([str(find_server()), *words], cwd=folder, stdout=subprocess.DEVNULL)
    trusting = f"ssl_ca_certs={certificate}"
    try:
        with tls_in_front(port, certificate, key) as secure:
            yield {
                "IPv4": f"redis://127.0.0.1:{port}/1",
                "IPv6": f"redis://[::1]:{port}/2",
                "socket": f"unix://{folder}/redis.sock?db=3",
                "mutual TLS": f"rediss://localhost:{secure}/4?{trusting}&ssl_certfile={certificate}&ssl_keyfile={key}",
                "no certificate": f"rediss://localhost:{secure}/5?{trusting}",
            }
    finally:
        server.kill()
        server.wait()


@contextlib.contextmanager
def tls_in_front(port: int, certificate: Path, key: Path) -> Iterator[int]:
    """Accept TLS from clients with our certificate, and pass it on: the tests' server knows no TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cafile=str(certificate))
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_cert_chain(certificate, key)
    loop = asyncio.new_event_loop()

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(65_536):
                target.write(data)
                await target.drain()
        target.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    proxy = loop.run_until_complete(asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield proxy.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.close()


def settings_of(url: str) -> Settings:
    return Settings(redis_url=url)


@pytest.mark.parametrize("address", ["IPv4", "IPv6", "socket", "mutual TLS"])
def test_a_message_that_celery_sends_is_there_for_the_ledger_and_for_a_worker(
    address: str, addresses: dict[str, str]
) -> None:
    settings = settings_of(addresses[address])
    uploads, *_ = queue_names(settings.namespace)
    app, client = make_app(settings), make_redis(settings)

    send_nudge(app, settings.namespace, Nudge("recognition", 8))

    assert client.llen(uploads) == 1
    connection: Connection
    with app.connection_for_read() as connection, connection.SimpleQueue(uploads) as queue:
        queue.get(timeout=10).ack()
    assert client.llen(uploads) == 0


def test_a_client_without_a_certificate_is_refused(addresses: dict[str, str]) -> None:
    with pytest.raises(redis.ConnectionError):
        make_redis(settings_of(addresses["no certificate"]), retries=0).ping()
