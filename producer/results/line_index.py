"""The index of a merged file: where some of its lines begin, so that line n is found without reading n lines.

Lines have no order that a search could use. Written by the merge; made again if it is missing or of another
version of the file.
"""

from bisect import bisect_right

import msgspec
import structlog

from contract.errors import ObjectMissingError, StorageError
from contract.lines import UNREADABLE
from contract.workspace import Workspace

MARK_BYTES = 1 << 20
"""Bytes between two marks: read in milliseconds. A file that is no longer than this has no index."""

MAX_INDEX_BYTES = 1 << 26
"""Size limit of an index in bytes: one mark for each MiB of several terabytes."""


class LineIndex(msgspec.Struct, frozen=True):
    """Marks (number of the lines before, position of a line's first byte) in a file of `size` bytes."""

    size: int
    marks: tuple[tuple[int, int], ...] = ()

    def before(self, line: int) -> tuple[int, int]:
        """Return the last mark at or before a line, which is counted from 0."""
        found = bisect_right(self.marks, line, key=lambda mark: mark[0])
        return self.marks[found - 1] if found else (0, 0)


class Marker:
    """Marks lines while a file is written or read."""

    def __init__(self) -> None:
        self._lines = self._bytes = self._marked = 0
        self._marks: list[tuple[int, int]] = []

    def add(self, size: int, lines: int = 1) -> None:
        """Count whole lines of together `size` bytes, their newlines included."""
        self._lines += lines
        self._bytes += size
        if self._bytes - self._marked >= MARK_BYTES:
            self._marks.append((self._lines, self._bytes))
            self._marked = self._bytes

    def index(self, rest: int = 0) -> LineIndex:
        """Return the index; `rest` is the length of a last line without a newline."""
        return LineIndex(self._bytes + rest, tuple(self._marks))


def store_index(workspace: Workspace, uri: str, index: LineIndex) -> None:
    """Write the index of a merged file, if the file is long enough to need one."""
    if index.marks:
        workspace.store.replace(workspace.line_index(uri), msgspec.json.encode(index))


def mark_before(workspace: Workspace, uri: str, line: int, size: int) -> tuple[int, int]:
    """Return a merged file's last mark at or before `line`: a line's number, and its first byte's position.

    Args:
        size: bytes of the file

    Raises:
        StorageError: the file cannot be read
    """
    if not line or size <= MARK_BYTES:
        return 0, 0
    index = _load(workspace, uri)
    if index is None or index.size != size:
        index = _made_again(workspace, uri)
    return index.before(line)


def _load(workspace: Workspace, uri: str) -> LineIndex | None:
    try:
        data = workspace.store.read(workspace.line_index(uri), MAX_INDEX_BYTES)
        return msgspec.json.decode(data, type=LineIndex)
    except (ObjectMissingError, *UNREADABLE):
        return None


def _made_again(workspace: Workspace, uri: str) -> LineIndex:
    marker, rest = Marker(), 0
    with workspace.store.reader(uri) as stream:
        while block := stream.read(MARK_BYTES):
            whole = block.rfind(b"\n") + 1
            if whole:
                marker.add(rest + whole, block.count(b"\n"))
                rest = 0
            rest += len(block) - whole
    index = marker.index(rest)
    try:
        store_index(workspace, uri, index)
    except StorageError as error:
        structlog.get_logger().warning("line_index_not_kept", file=uri, error=str(error))
    return index
