"""Machine code for loops over pixels, which runs only in the calling thread."""

import functools
import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

DIGITS = 12
"""Hexadecimal digits of the sources' digest in the names of cached files."""


def compiled(function: Callable[..., object], signature: Any, *, nogil: bool = True) -> Any:
    """Return the function compiled for one signature; cached on disk if numba has a folder for it.

    Dividing by zero gives infinity as in numpy: Python's check would prevent vector instructions.

    Args:
        nogil: release the GIL; for ten microseconds of work, taking it back costs as much
    """
    options: dict[str, Any] = {"nogil": nogil, "error_model": "numpy"}
    # numba compares the function's file only, but kernels contain code of other files, and what is cached
    # outlives an upgrade.
    function.__qualname__ = f"{function.__name__}_{_sources_digest()}"
    try:
        return numba.njit(signature, cache=True, **options)(function)
    except RuntimeError:  # numba finds no writable cache folder
        return numba.njit(signature, **options)(function)


@functools.cache
def _sources_digest() -> str:
    """Return what tells the sources of all kernels from those of another version."""
    sources = sorted(Path(__file__).parent.glob("*.py"))
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in sources)).hexdigest()[:DIGITS]
