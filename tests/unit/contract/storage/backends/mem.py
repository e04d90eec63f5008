"""A backend that holds its objects in memory: what a new scheme needs, and no more.

`memory_backend` of the conftest adds it to the product's backends.
"""

import contextlib
import hashlib
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from io import BytesIO
from pathlib import Path

from contract.errors import ObjectMissingError, TooManyBytesError
from contract.settings import Settings
from contract.storage.base import OnRequest, Store, Version, temporary_copy
from contract.storage.streams import TranslatedStream


class MemoryStore:
    def __init__(self) -> None:
        self._objects: dict[str, bytes] = {}
        self._lock = threading.Lock()

    def _found(self, uri: str) -> bytes:
        try:
            return self._objects[uri]
        except KeyError as error:
            raise ObjectMissingError(f"there is no object {uri}") from error

    def read(self, uri: str, limit: int) -> bytes:
        data = self._found(uri)
        if len(data) > limit:
            raise TooManyBytesError(f"{uri} is larger than {limit:,} bytes")
        return data

    def read_range(self, uri: str, start: int, length: int) -> bytes:
        return self._found(uri)[start : start + length]

    def replace(self, uri: str, data: bytes) -> None:
        self._objects[uri] = data

    def create(self, uri: str, data: bytes) -> bool:
        with self._lock:
            if uri in self._objects:
                return False
            self._objects[uri] = data
            return True

    def exchange(self, uri: str, old: bytes, new: bytes) -> bool:
        with self._lock:
            if self._found(uri) != old:
                return False
            self._objects[uri] = new
            return True

    def delete(self, uri: str) -> None:
        self._objects.pop(uri, None)

    def exists(self, uri: str) -> bool:
        return uri in self._objects

    def names(self, folder: str) -> Iterator[str]:
        base = folder.rstrip("/") + "/"
        found = (uri.removeprefix(base) for uri, _ in self.objects(folder))
        yield from (name for name in found if "/" not in name)

    def objects(self, folder: str) -> Iterator[tuple[str, int]]:
        base = folder.rstrip("/") + "/"
        for uri, data in sorted(self._objects.items()):
            if uri.startswith(base):
                yield uri, len(data)

    def versions(self, folder: str) -> Iterator[tuple[str, Version]]:
        return ((uri, self.version(uri)) for uri, _ in self.objects(folder))

    def version(self, uri: str) -> Version:
        data = self._found(uri)
        return Version(len(data), 0, hashlib.sha256(data).hexdigest())

    def sweep(self, folder: str, ours: Callable[[str], bool]) -> int:
        return 0

    def size(self, uri: str) -> int:
        return len(self._found(uri))

    @contextlib.contextmanager
    def reader(self, uri: str, start: int = 0) -> Iterator[TranslatedStream]:
        yield TranslatedStream(BytesIO(self._found(uri)[start:]), contextlib.nullcontext)

    @contextlib.contextmanager
    def writer(self, uri: str) -> Iterator[TranslatedStream]:
        stream = BytesIO()
        yield TranslatedStream(stream, contextlib.nullcontext)
        self._objects[uri] = stream.getvalue()

    def local_copy(self, uri: str) -> AbstractContextManager[Path]:
        return temporary_copy(self, uri)


class MemoryBackend:
    remote = True
    read_only = False

    def __init__(self) -> None:
        self._store = MemoryStore()

    def absolute(self, uri: str) -> str:
        return uri.rstrip("/")

    def store(self, _settings: Settings, _on_request: OnRequest | None) -> Store:
        return self._store


BACKEND = MemoryBackend()
