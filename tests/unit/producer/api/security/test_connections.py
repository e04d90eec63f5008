"""Connections over real sockets: peers that do not send, that do not take, and that are too many."""

import asyncio
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from contract.settings import Settings
from producer.api.security.connections import OWN_DESCRIPTORS, Bounds, make_bounds

Connect = Callable[[bytes], socket.socket]


class App:
    """Answers /endless without an end, and everything else once it has read the body."""

    def __init__(self) -> None:
        self.cut = threading.Event()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        endless = scope["path"] == "/endless"
        while not endless and (message := await receive()).get("more_body"):
            assert message["type"] == "http.request"
        await send(
            {
                "type": "http.response.start",
                "status": 200,
                "headers": [(b"content-length", b"2")] * (not endless),
            }
        )
        if endless:
            watching = asyncio.create_task(receive())
            while not watching.done():
                await send({"type": "http.response.body", "body": b" " * 2**20, "more_body": True})
                await asyncio.sleep(0)
            self.cut.set()
        await send({"type": "http.response.body", "body": b"ok"})


@contextmanager
def served(app: App, bounds: Bounds) -> Iterator[Connect]:
    """Serve in a thread; yield a function that connects and sends."""
    config = uvicorn.Config(app, port=0, http=bounds.protocol, lifespan="off", log_config=None)  # type: ignore[arg-type]
    server, started, opened = uvicorn.Server(config), threading.Event(), []
    main = server.main_loop

    async def main_loop() -> None:
        started.set()
        await main()

    server.main_loop = main_loop  # type: ignore[method-assign]
    thread = threading.Thread(target=server.run)
    thread.start()
    assert started.wait(10)
    address = server.servers[0].sockets[0].getsockname()

    def connect(data: bytes) -> socket.socket:
        opened.append(socket.create_connection(address, timeout=20))
        opened[-1].sendall(data)
        return opened[-1]

    yield connect
    for connection in opened:
        connection.close()
    server.should_exit = True
    thread.join()


def received(connection: socket.socket) -> bytes:
    """Return what a connection receives until it is closed."""
    data = b""
    try:
        while part := connection.recv(65_536):
            data += part
    except ConnectionResetError:
        pass
    return data


HEAD = b"POST /x HTTP/1.1\r\nHost: x\r\n"


@pytest.mark.parametrize(
    ("sent", "told"),
    [
        (b"", b""),
        (HEAD, b"HTTP/1.1 408"),
        (HEAD + b"Content-Length: 9\r\n\r\n123", b"HTTP/1.1 408"),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n3\r\n12", b"HTTP/1.1 408"),
    ],
    ids=["nothing", "a head", "a body", "a chunk"],
)
def test_a_request_that_is_sent_in_part_is_closed(sent: bytes, told: bytes) -> None:
    with served(App(), Bounds(9, 0.2, 60)) as connect:
        assert received(connect(sent))[: len(told) or 1] == told


def test_an_answer_that_is_not_taken_is_given_up() -> None:
    app = App()
    with served(app, Bounds(9, 60, 0.2)) as connect:
        connect(b"GET /endless HTTP/1.1\r\nHost: x\r\n\r\n")

        assert app.cut.wait(20)


def test_of_too_many_connections_the_one_that_waits_longest_is_closed() -> None:
    with served(App(), Bounds(3, 60, 60)) as connect:
        waiting = [connect(HEAD) for _ in range(5)]
        asking = connect(HEAD + b"Content-Length: 0\r\n\r\n")

        assert asking.recv(65_536).startswith(b"HTTP/1.1 200")
        for connection in waiting[:3]:
            assert received(connection)[:12] in (b"", b"HTTP/1.1 503")


def test_connections_whose_requests_run_are_not_closed_for_others() -> None:
    with served(App(), Bounds(2, 60, 60)) as connect:
        running = [connect(HEAD + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n") for _ in range(2)]
        for connection in running:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 100")

        assert received(connect(HEAD)).startswith(b"HTTP/1.1 503")
        for connection in running:
            connection.sendall(b"12")
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")


@pytest.mark.parametrize(
    ("soft", "hard", "most", "raised"),
    [
        (1024, 1024, (1024 - OWN_DESCRIPTORS) // 2, None),
        (1024, 524_288, 1000, 2000 + OWN_DESCRIPTORS),
        (1024, resource.RLIM_INFINITY, 1000, 2000 + OWN_DESCRIPTORS),
        (resource.RLIM_INFINITY, resource.RLIM_INFINITY, 1000, None),
        (100, 100, 1, None),
    ],
)
def test_connections_stay_below_the_limit_of_open_files(
    soft: int, hard: int, most: int, raised: int | None, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    set_to: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (soft, hard))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: set_to.append(limits))

    assert make_bounds(settings).most == most

    assert set_to == ([] if raised is None else [(raised, hard)])
