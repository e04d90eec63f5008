"""Work done ahead of whoever needs it, in order and within bounds."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import TypeVar

T = TypeVar("T")
U = TypeVar("U")


def ahead(pool: Executor, function: Callable[[T], U], values: Iterable[T], window: int) -> Iterator[U]:
    """Yield function(value) in order, at most `window` of them running or waiting to be taken.

    What no thread of the pool has begun by the time that it is needed, the caller does itself: it would only
    wait, and a pool of few threads then suffices for values that take long as for those that do not.

    `Executor.map` has no such bound in Python 3.11: it would decode a whole chunk at once.
    """
    pending: deque[tuple[T, Future[U]]] = deque()
    try:
        for value in values:
            pending.append((value, pool.submit(function, value)))
            if len(pending) >= window:
                yield _result(function, *pending.popleft())
        while pending:
            yield _result(function, *pending.popleft())
    finally:
        for _, future in pending:
            future.cancel()


def _result(function: Callable[[T], U], value: T, future: Future[U]) -> U:
    return function(value) if future.cancel() else future.result()
