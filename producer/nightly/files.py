"""The files of all nights below one root."""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

import msgspec

from contract.counting import counted
from contract.errors import JobError, ObjectMissingError
from contract.storage import Store, join
from contract.storage.streams import TranslatedStream
from contract.workspace import MAX_JSON_BYTES, Workspace, intact
from producer.nightly.records import Entry, Night, State

BLOCK_BYTES = 1 << 18
"""Bytes of lines that are read or written at once."""

T = TypeVar("T")


@dataclass(frozen=True)
class Nights:
    """The nights below an absolute root: each has a workspace there, and its records in `nights/`."""

    root: str
    store: Store

    def path(self, name: str) -> str:
        """Return the URI of a file in `nights/`."""
        return join(self.root, "nights", name)

    @property
    def latest(self) -> str:
        """The newest line of every item that could be read, sorted by ids."""
        return join(self.root, "latest.jsonl")

    @property
    def latest_errors(self) -> str:
        """The error line of every item whose newest content could not be read, sorted by ids."""
        return join(self.root, "latest-errors.jsonl")

    @property
    def latest_columns(self) -> str:
        """The lines of `latest` as Parquet, if the last night's job wrote it."""
        return join(self.root, "latest.parquet")

    @property
    def latest_errors_columns(self) -> str:
        """The lines of `latest_errors` as Parquet."""
        return join(self.root, "latest-errors.parquet")

    def workspace(self, night: str) -> Workspace:
        """Return the workspace of a night."""
        return Workspace(join(self.root, night), self.store)

    def last(self) -> State | None:
        """Return what the last complete night left, or None; raises JobError if the record is damaged."""
        return self._load(self.path("last.json"), State)

    def night(self, night: str) -> Night | None:
        """Return the record of a night that has begun, or None; raises JobError if it is damaged."""
        return self._load(self.path(f"{night}.json"), Night)

    def begun(self) -> list[str]:
        """Return the nights that have begun, in order."""
        names = (name.removesuffix(".json") for name in self.store.names(join(self.root, "nights")))
        return sorted(name for name in names if len(name) == len("2026-11-25") and name[:1].isdigit())

    def entries(self, file: str) -> Iterator[Entry]:
        """Yield the entries of a file; raises JobError if it is damaged."""
        uri, decode = self.path(file), msgspec.json.Decoder(Entry).decode
        with intact(uri):
            yield from map(decode, read_lines(self.store, uri))

    def entries_of(self, state: State) -> Iterator[Entry]:
        """Yield the entries of a state, in order.

        Raises:
            JobError: the file is damaged or missing; at the latest after its last entry
        """
        uri, decode, digest, count = (
            self.path(state.file),
            msgspec.json.Decoder(Entry).decode,
            hashlib.sha256(),
            0,
        )
        try:
            with intact(uri):
                for line in read_lines(self.store, uri):
                    digest.update(line + b"\n")
                    count += 1
                    yield decode(line)
        except (JobError, ObjectMissingError) as error:
            raise _damaged(uri, state, str(error)) from error
        if (count, digest.hexdigest()) != (state.entries, state.sha256):
            raise _damaged(
                uri,
                state,
                f"it has {counted(count, 'entry', 'entries')} of {state.entries:,}, or others than were "
                "written",
            )

    def _load(self, uri: str, kind: type[T]) -> T | None:
        try:
            data = self.store.read(uri, MAX_JSON_BYTES)
        except ObjectMissingError:
            return None
        with intact(uri):
            return msgspec.json.decode(data, type=kind)


def _damaged(uri: str, state: State, why: str) -> JobError:
    return JobError(
        f"what night {state.night} left is damaged ({uri}: {why}): put the file back from a copy, or read "
        "everything again with --reread"
    )


class LineWriter:
    """Writes JSON lines in blocks; counts and hashes them."""

    def __init__(self, stream: TranslatedStream) -> None:
        self._stream = stream
        self._encode = msgspec.json.Encoder().encode
        self._buffer = bytearray()
        self._digest = hashlib.sha256()
        self.count = 0

    def write(self, record: object) -> None:
        """Write a record as one line."""
        self.write_line(self._encode(record))

    def write_line(self, line: bytes) -> None:
        """Write a line, given without its newline."""
        self._buffer += line
        self._buffer += b"\n"
        self.count += 1
        if len(self._buffer) >= BLOCK_BYTES:
            self.flush()

    def flush(self) -> None:
        """Pass on what is not written yet."""
        self._digest.update(self._buffer)
        self._stream.write(bytes(self._buffer))
        self._buffer.clear()

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written, after `flush`."""
        return self._digest.hexdigest()


@contextmanager
def written(store: Store, uri: str) -> Iterator[LineWriter]:
    """Yield a writer of lines; the file appears when the block ends, or not at all if it raises."""
    with store.writer(uri) as stream:
        writer = LineWriter(stream)
        yield writer
        writer.flush()


def read_lines(store: Store, uri: str) -> Iterator[bytes]:
    """Yield the lines of a file without their newlines, in constant memory."""
    with store.reader(uri) as stream:
        rest = b""
        while block := stream.read(BLOCK_BYTES):
            *lines, rest = (rest + block).split(b"\n")
            yield from lines
        if rest:
            yield rest
