"""Memory that two processes share: a file without a name, handed over as a descriptor.

Nothing is left behind when both processes are killed, and the size of /dev/shm does not matter. The memory
counts against a container's limit as it is touched. The file is sealed: a process that an image has taken
over cannot shrink it, which would crash the other one at its next read.
"""

import fcntl
import mmap
import os
import tempfile

_SEALS = ("F_SEAL_SHRINK", "F_SEAL_GROW", "F_SEAL_SEAL")


def anonymous_file(size: int) -> int:
    """Return the descriptor of a new file without a name; where the system can, its size cannot change."""
    if not hasattr(os, "memfd_create"):
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            return os.dup(file.fileno())
    descriptor = os.memfd_create("trace-ocr", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    os.ftruncate(descriptor, size)
    fcntl.fcntl(descriptor, fcntl.F_ADD_SEALS, _seals())
    return descriptor


def mapped(descriptor: int, size: int) -> mmap.mmap:
    """Return the first bytes of such a file; the descriptor may be closed afterwards.

    Raises:
        OSError: the file is smaller, or its size may change: reading it could crash this process
    """
    if os.fstat(descriptor).st_size < size:
        raise OSError(f"a file of less than {size:,} bytes")
    if hasattr(os, "memfd_create") and fcntl.fcntl(descriptor, fcntl.F_GET_SEALS) & _seals() != _seals():
        raise OSError("a file whose size is not sealed")
    return mmap.mmap(descriptor, size)


def _seals() -> int:
    return sum(getattr(fcntl, name) for name in _SEALS)
