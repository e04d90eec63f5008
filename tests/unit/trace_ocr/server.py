"""An API of scripted answers, and the blocking face of both clients that one suite of tests is run over."""

import asyncio
import inspect
import json
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any, Self

import httpx

from trace_ocr import AsyncClient, AsyncJobHandle, Client

URL = "http://ocr.test:8080"
KEY = "a-secret-key"

Answers = Callable[[httpx.Request], httpx.Response]
Serve = Callable[..., "Server"]
"""Makes a Server of the answers it is given."""


class Server:
    """An API that gives scripted answers, the last one again and again, and keeps the requests.

    Args:
        runner: if given, clients are AsyncClients in its event loop
    """

    def __init__(
        self, *answers: httpx.Response | Exception | Answers, runner: asyncio.Runner | None = None
    ) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.pauses: list[float] = []
        self._runner = runner

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        if not isinstance(answer, httpx.Response):
            return answer(request)
        # A new one each time: clients tie a response to their kind of stream.
        return httpx.Response(answer.status_code, headers=answer.headers, stream=answer.stream)

    def client(self, url: str = URL, key: str | None = KEY) -> Any:
        """Return a Client, or an AsyncClient behind the same methods."""
        transport = httpx.MockTransport(self)
        if self._runner is None:
            return Client(url, key, transport=transport, sleep=self.pauses.append)
        return Blocking(AsyncClient(url, key, transport=transport, sleep=self._pause), self._runner)

    def body(self, index: int = 0) -> dict[str, Any]:
        """Return the JSON of a request."""
        decoded: dict[str, Any] = json.loads(self.requests[index].content)
        return decoded

    async def _pause(self, seconds: float) -> None:
        self.pauses.append(seconds)


class Blocking:
    """An AsyncClient or AsyncJobHandle with the methods of its blocking twin."""

    def __init__(self, wrapped: AsyncClient | AsyncJobHandle, runner: asyncio.Runner) -> None:
        self.wrapped = wrapped
        self._runner = runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self.wrapped, name)
        return (lambda *given, **named: self._plain(found(*given, **named))) if callable(found) else found

    def __enter__(self) -> Self:
        self._runner.run(self.wrapped.__aenter__())  # type: ignore[union-attr]
        return self

    def __exit__(self, *error: Any) -> None:
        self._runner.run(self.wrapped.__aexit__(*error))  # type: ignore[union-attr]

    def _plain(self, value: Any) -> Any:
        if inspect.iscoroutine(value):
            return self._plain(self._runner.run(value))
        if isinstance(value, AsyncIterator):
            return self._each(value)
        return Blocking(value, self._runner) if isinstance(value, AsyncJobHandle) else value

    def _each(self, values: AsyncIterator[Any]) -> Iterator[Any]:
        end = object()

        async def following() -> Any:
            return await anext(values, end)

        while (value := self._runner.run(following())) is not end:
            yield value


class Stream(httpx.SyncByteStream, httpx.AsyncByteStream):
    """A body in pieces, for both clients; an exception among them is raised."""

    def __init__(self, *pieces: bytes | Exception) -> None:
        self._pieces = pieces
        self.closed = False

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            if isinstance(piece, Exception):
                raise piece
            yield piece

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self:
            yield piece

    def close(self) -> None:
        self.closed = True

    async def aclose(self) -> None:
        self.closed = True


def cut_stream(data: bytes, at: int) -> Stream:
    """Return a body whose connection breaks after some bytes."""
    return Stream(data[:at], httpx.ReadError("connection reset"))


def job_object(status: str = "in_progress", **fields: Any) -> dict[str, Any]:
    """Return a job as the API describes it."""
    return {
        "id": "night",
        "object": "job",
        "kind": "recognition",
        "status": status,
        "source": "/scans",
        "workspace": "/out",
        "request_counts": {"total": 9, "completed": 4, "failed": 1},
        "chunks": {"total": 3, "done": 1},
        "planning": False,
        "created_at": 1_000,
        "updated_at": 1_010.5,
        "in_progress_at": 1_001,
        "completed_at": None,
        "items_per_second": 2.5,
        "eta_seconds": None,
        "running": [{"chunk": 1, "items": 2, "seen_at": 1_010.0, "worker": "cpu@host"}],
        "workers": [{"name": "cpu@host", "items_per_second": 2.5}],
        "rate": [[1_005, 3], [1_010.5, 2]],
        "stage_seconds": {"forward": 1.5},
        "recent_errors": [{"id": "x", "uri": "/scans/x", "code": "truncated", "message": "cut short"}],
        "error": "",
        **fields,
    }


def job_answer(status: str = "in_progress", **fields: Any) -> httpx.Response:
    """Return an answer with a job."""
    return httpx.Response(200, json=job_object(status, **fields))


def refusal(status: int, detail: object = "no", **headers: str) -> httpx.Response:
    """Return an answer that refuses."""
    return httpx.Response(status, json={"detail": detail}, headers=headers)
