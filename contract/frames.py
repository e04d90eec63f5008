"""Frames: what a process and its child tell each other through a socket.

A frame is two lengths (`_LENGTHS`), JSON, and data; large data is shared memory, whose descriptor is sent.
"""

import mmap
import os
import socket
import struct
import time
from typing import Any, TypeVar

import msgspec

from contract.shared_memory import anonymous_file, mapped

MAX_HEADER = 1 << 20
"""Maximum bytes of a reply's JSON: many times a 4 KiB path plus a library's error message."""

MAX_INLINE = 1 << 20
"""Maximum bytes of data that go through the socket: more go as shared memory, which is not copied."""

Data = bytearray | mmap.mmap
"""The data of a frame."""

_LENGTHS = struct.Struct("!QQ")
"""Bytes of the JSON, bytes of the data."""

R = TypeVar("R")


def send_frame(connection: socket.socket, header: bytes, data: Any, deadline: float | None = None) -> None:
    """Send one frame, JSON and any buffer; raises TimeoutError if the deadline has passed, or OSError."""
    size = memoryview(data).nbytes
    connection.settimeout(_left(deadline))
    connection.sendall(_LENGTHS.pack(len(header), size) + header)
    connection.settimeout(_left(deadline))
    if size <= MAX_INLINE:
        connection.sendall(data)
        return
    descriptor = anonymous_file(size)
    try:
        with mapped(descriptor, size) as shared:
            shared[:] = memoryview(data).cast("B")
        send_descriptor(connection, descriptor)
    finally:
        os.close(descriptor)


def send_descriptor(connection: socket.socket, descriptor: int) -> None:
    """Send an open file; raises OSError."""
    socket.send_fds(connection, [b"\0"], [descriptor])


def receive_frame(
    connection: socket.socket, header: type[R], max_data: int, deadline: float | None = None
) -> tuple[R, Data]:
    """Return one frame.

    Raises:
        TimeoutError: the deadline has passed
        ConnectionError, OSError: the connection ended, the frame is longer than allowed, or its data is not
            as announced
        msgspec.MsgspecError, RecursionError: the header is not of the type
    """
    header_length, data_length = _LENGTHS.unpack(_read(connection, _LENGTHS.size, deadline))
    if header_length > MAX_HEADER or data_length > max_data:
        raise ConnectionAbortedError(f"a frame of {header_length:,} and {data_length:,} bytes")
    decoded = msgspec.json.decode(_read(connection, header_length, deadline), type=header)
    if data_length <= MAX_INLINE:
        return decoded, _read(connection, data_length, deadline)
    return decoded, receive_mapped(connection, data_length, deadline)


def receive_mapped(connection: socket.socket, size: int, deadline: float | None = None) -> mmap.mmap:
    """Return the bytes of an open file that the other side sends; raises OSError, as `mapped`."""
    connection.settimeout(_left(deadline))
    _, descriptors, _, _ = socket.recv_fds(connection, 1, 1)
    if not descriptors:
        raise ConnectionAbortedError("the other side sent no file")
    try:
        return mapped(descriptors[0], size)
    finally:
        for descriptor in descriptors:
            os.close(descriptor)


def _read(connection: socket.socket, length: int, deadline: float | None) -> bytearray:
    buffer = bytearray(length)
    rest = memoryview(buffer)
    while rest:
        connection.settimeout(_left(deadline))
        read = connection.recv_into(rest)
        if not read:
            raise ConnectionAbortedError("the other side closed the connection")
        rest = rest[read:]
    return buffer


def _left(deadline: float | None) -> float | None:
    """Return the seconds that are left, None without a deadline; raises TimeoutError if none are left."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
