"""Streams of storage: what fails in them is storage's error, and what fails between is not."""

import contextlib
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Any

import pytest

from contract.errors import StorageUnavailableError
from contract.storage.streams import TranslatedStream


@contextlib.contextmanager
def translated() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageUnavailableError("away") from error


class Broken(BytesIO):
    """A stream whose storage has gone away."""

    def read(self, *_: object) -> bytes:
        raise OSError("gone")

    def readline(self, *_: object) -> bytes:
        raise OSError("gone")

    def write(self, *_: object) -> int:
        raise OSError("gone")


@pytest.mark.parametrize(
    "use",
    [
        lambda stream: stream.read(),
        lambda stream: stream.read(3),
        lambda stream: stream.readline(),
        lambda stream: stream.write(b"x"),
        lambda stream: list(stream),
    ],
    ids=["read", "read some", "readline", "write", "iterate"],
)
def test_a_failure_of_the_stream_is_one_of_storage(use: Callable[[Any], object]) -> None:
    with pytest.raises(StorageUnavailableError):
        use(TranslatedStream(Broken(), translated))


def test_a_failure_between_two_lines_is_the_readers_own() -> None:
    stream = TranslatedStream(BytesIO(b"one\ntwo\n"), translated)

    def read() -> None:
        for _ in stream:
            raise OSError("mine")

    with pytest.raises(OSError, match="mine") as raised:
        read()

    assert not isinstance(raised.value, StorageUnavailableError)
