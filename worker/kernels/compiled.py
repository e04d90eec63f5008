"""Machine code for loops over pixels, which runs only in the calling thread."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., object], signature: Any, *, nogil: bool = True) -> Any:
    """Return the function compiled for one signature; cached on disk if numba has a folder for it.

    Dividing by zero gives infinity as in numpy: Python's check would prevent vector instructions.

    Args:
        nogil: release the GIL; for ten microseconds of work, taking it back costs as much
    """
    options: dict[str, Any] = {"nogil": nogil, "error_model": "numpy"}
    try:
        return numba.njit(signature, cache=True, **options)(function)
    except RuntimeError:  # numba finds no writable cache folder
        return numba.njit(signature, **options)(function)
