"""Merged files over HTTP: streamed, from a byte position (`Range`) or a line (`offset`)."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated

from fastapi import Header, Query
from starlette.responses import JSONResponse, Response, StreamingResponse

from contract.workspace import Workspace
from producer.results.line_index import mark_before

BLOCK = 1 << 18
"""Bytes read and sent at once."""

MEDIA_TYPE = "application/jsonl"

COMPRESSED = frozenset({"application/vnd.apache.parquet"})
"""Media types of files that are compressed already."""

MAX_LINES = 2**40
"""Maximum `offset` and `limit`: more lines than any job has, and within the range of `split`."""


@dataclass(frozen=True)
class Selection:
    """The requested part of a file.

    Only a single byte range is served; other ranges are ignored. If `if_range` names another version of the
    file, the answer is the whole file.
    """

    range: Annotated[str | None, Header(description="bytes=first-last")] = None
    if_range: Annotated[str | None, Header(description="the ETag that the range refers to")] = None
    offset: Annotated[int, Query(ge=0, le=MAX_LINES, description="lines to skip")] = 0
    limit: Annotated[int | None, Query(ge=1, le=MAX_LINES, description="maximum number of lines")] = None


def file_response(
    workspace: Workspace, uri: str, asked: Selection, media_type: str = MEDIA_TYPE, variant: str = ""
) -> Response:
    """Return a response that streams a file; 416 for a range that cannot be satisfied.

    Args:
        variant: what tells its ETag from those of the same lines in other formats and files
    """
    # First, so that a missing file is an error and not an empty stream.
    size = workspace.store.size(uri)
    if asked.offset or asked.limit is not None:
        line, start = mark_before(workspace, uri, asked.offset, size)
        wanted = _lines(workspace, uri, start, asked.offset - line, asked.limit)
        return StreamingResponse(wanted, media_type=media_type)
    headers = {"accept-ranges": "bytes", "etag": _etag(workspace, size, variant)}
    bounds = _bounds(asked.range, size) if asked.if_range in (None, headers["etag"]) else None
    if bounds is None:
        headers["content-length"] = str(size)
        if media_type in COMPRESSED:
            headers["content-encoding"] = "identity"
        return StreamingResponse(_blocks(workspace, uri, 0, size), 200, headers, media_type)
    start, end = bounds
    if start >= end:
        refusal = {"detail": f"the file has {size:,} bytes"}
        return JSONResponse(refusal, 416, {**headers, "content-range": f"bytes */{size}"})
    headers |= {
        "content-range": f"bytes {start}-{end - 1}/{size}",
        "content-length": str(end - start),
        # Positions count bytes of the file itself, so this answer must not be compressed.
        "content-encoding": "identity",
    }
    return StreamingResponse(_blocks(workspace, uri, start, end), 206, headers, media_type)


def _etag(workspace: Workspace, size: int, variant: str) -> str:
    """Return an ETag that changes when the file is merged again, as after retry-errors."""
    summary = workspace.load_summary() or {}
    return f'"{variant}{size:x}-{summary.get("completed_at", 0):x}-{summary.get("retries", 0)}"'


def _bounds(byte_range: str | None, size: int) -> tuple[int, int] | None:
    """Return the position of the first byte and of the one after the last; None for the whole file."""
    match = re.fullmatch(r"bytes=([0-9]{0,18})-([0-9]{0,18})", byte_range or "")
    if match is None or match[0] == "bytes=-":
        return None
    first, last = match.groups()
    if not first:
        return max(0, size - int(last)), size
    if last and int(last) < int(first):
        return None
    return int(first), min(size, int(last) + 1) if last else size


def _blocks(workspace: Workspace, uri: str, start: int, end: int) -> Iterator[bytes]:
    with workspace.store.reader(uri, start) as stream:
        left = end - start
        while left and (block := stream.read(min(BLOCK, left))):
            left -= len(block)
            yield block


def _lines(workspace: Workspace, uri: str, start: int, skip: int, limit: int | None) -> Iterator[bytes]:
    """Yield up to `limit` lines, `skip` lines after byte `start`, block by block: line by line is slow."""
    with workspace.store.reader(uri, start) as stream:
        while block := stream.read(BLOCK):
            if skip:
                newlines = block.count(b"\n")
                if newlines < skip:
                    skip -= newlines
                    continue
                block, skip = block[_end_of(block, skip) :], 0
            if limit is not None:
                newlines = block.count(b"\n")
                if newlines >= limit:
                    yield block[: _end_of(block, limit)]
                    return
                limit -= newlines
            yield block


def _end_of(block: bytes, lines: int) -> int:
    """Return the position after the first `lines` newlines of a block that has at least as many."""
    return len(block) - len(block.split(b"\n", lines)[-1])
