"""Machine code for loops over pixels: without Python's lock, and in the calling thread alone."""

from collections.abc import Callable
from typing import Any

import numba


def compiled(function: Callable[..., object], signature: Any) -> Any:
    """Return the function, compiled for one signature; kept on disk where there is a folder for that.

    Dividing by zero gives infinity as in numpy: Python's check would stop the processor's vectors.
    """
    options: dict[str, Any] = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(signature, cache=True, **options)(function)
    except RuntimeError:  # numba finds no folder that it may write
        return numba.njit(signature, **options)(function)
