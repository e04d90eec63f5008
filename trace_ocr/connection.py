"""The two ways to the HTTP API, blocking and asyncio: all input and output, and no decisions."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, closing
from typing import Concatenate, ParamSpec, TypeVar

import httpx

from trace_ocr.exchange import Api, Flow, Pause, Request
from trace_ocr.lines import LineFile
from trace_ocr.listing import Listing

P = ParamSpec("P")
T = TypeVar("T")
Sleep = Callable[[float], None]
AsyncSleep = Callable[[float], Awaitable[None]]


class Connection:
    """Drives flows over kept-alive connections, blocking. Safe to share between threads.

    Args:
        api: whose flows they are
        timeout: seconds without a byte after which a request counts as lost
        transport: another way than the network
        sleep: how to pause
    """

    def __init__(
        self,
        api: Api,
        timeout: float,
        transport: httpx.BaseTransport | None = None,
        sleep: Sleep = time.sleep,
    ) -> None:
        self.api = api
        self._sleep = sleep
        self._http = httpx.Client(base_url=api.url, auth=api.auth, timeout=timeout, transport=transport)

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def run(self, ask: Callable[Concatenate[Api, P], Flow[T]], *args: P.args, **options: P.kwargs) -> T:
        """Drive the flow that `ask` makes for the API and these arguments; return what it returns."""
        return self._drive(ask(self.api, *args, **options))

    def pages(
        self, ask: Callable[Concatenate[Api, P], Listing[T]], *args: P.args, **options: P.kwargs
    ) -> Iterator[T]:
        """Yield what the listing has, asking for further pages as they are needed."""
        listing = ask(self.api, *args, **options)
        while listing.more:
            yield from self._drive(listing.page())

    def lines(self, path: str, type_: type[T]) -> Iterator[T]:
        """Yield the lines of a file as they arrive, through cuts of the connection."""
        file = LineFile(self.api, path, type_)
        while not file.ended:
            try:
                response = self._drive(file.open())
                if response is None:
                    return
                with closing(response):
                    file.begin(response)
                    for data in response.iter_bytes():
                        yield from file.feed(data)
                yield from file.finish()
            except httpx.RequestError as error:
                self._drive(file.cut(error))

    def _drive(self, flow: Flow[T]) -> T:
        with closing(flow):
            try:
                step = next(flow)
                while True:
                    try:
                        answer = self._perform(step)
                    except httpx.RequestError as error:
                        step = flow.throw(error)
                    else:
                        step = flow.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result

    def _perform(self, step: Request | Pause) -> httpx.Response | None:
        if isinstance(step, Pause):
            self._sleep(step.seconds)
            return None
        request = self._http.build_request(step.method, step.path, **step.content)
        response = self._http.send(request, stream=True)
        if not (step.stream and response.is_success):
            with closing(response):
                response.read()
        return response


class AsyncConnection:
    """Drives the same flows in an asyncio event loop.

    Args:
        api: whose flows they are
        timeout: seconds without a byte after which a request counts as lost
        transport: another way than the network
        sleep: how to pause
    """

    def __init__(
        self,
        api: Api,
        timeout: float,
        transport: httpx.AsyncBaseTransport | None = None,
        sleep: AsyncSleep = asyncio.sleep,
    ) -> None:
        self.api = api
        self._sleep = sleep
        self._http = httpx.AsyncClient(base_url=api.url, auth=api.auth, timeout=timeout, transport=transport)

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def run(self, ask: Callable[Concatenate[Api, P], Flow[T]], *args: P.args, **options: P.kwargs) -> T:
        """Drive the flow that `ask` makes for the API and these arguments; return what it returns."""
        return await self._drive(ask(self.api, *args, **options))

    async def pages(
        self, ask: Callable[Concatenate[Api, P], Listing[T]], *args: P.args, **options: P.kwargs
    ) -> AsyncIterator[T]:
        """Yield what the listing has, asking for further pages as they are needed."""
        listing = ask(self.api, *args, **options)
        while listing.more:
            for found in await self._drive(listing.page()):
                yield found

    async def lines(self, path: str, type_: type[T]) -> AsyncIterator[T]:
        """Yield the lines of a file as they arrive, through cuts of the connection."""
        file = LineFile(self.api, path, type_)
        while not file.ended:
            try:
                response = await self._drive(file.open())
                if response is None:
                    return
                async with aclosing(response):
                    file.begin(response)
                    async for data in response.aiter_bytes():
                        for line in file.feed(data):
                            yield line
                for line in file.finish():
                    yield line
            except httpx.RequestError as error:
                await self._drive(file.cut(error))

    async def _drive(self, flow: Flow[T]) -> T:
        with closing(flow):
            try:
                step = next(flow)
                while True:
                    try:
                        answer = await self._perform(step)
                    except httpx.RequestError as error:
                        step = flow.throw(error)
                    else:
                        step = flow.send(answer)
            except StopIteration as end:
                result: T = end.value
                return result

    async def _perform(self, step: Request | Pause) -> httpx.Response | None:
        if isinstance(step, Pause):
            await self._sleep(step.seconds)
            return None
        request = self._http.build_request(step.method, step.path, **step.content)
        response = await self._http.send(request, stream=True)
        if not (step.stream and response.is_success):
            async with aclosing(response):
                await response.aread()
        return response
