"""What scales crops: the compiled kernel where its bytes are torch's, else torch.

The comparison with torch is made once for each installation and machine, and noted in docTR's cache, since
importing torch takes seconds.
"""

import contextlib
import functools
import hashlib
import importlib.metadata
import inspect
import os
from collections.abc import Callable
from pathlib import Path

import structlog
from llvmlite import binding

from contract.model_store import doctr_cache
from worker.kernels import compiled, resample, vectors
from worker.kernels.pixels import Pixels
from worker.kernels.resample import resample_compiled

Resample = Callable[[Pixels, int, int, Pixels], None]
"""(crop, height, width, piece): scale a crop, (h, w, 3) uint8, into the upper left corner of a piece,
(3, H, W) uint8."""

SAME, OTHER = "same", "other"
"""What a note says: the kernel computes torch's bytes, or other ones."""


def by_torch(crop: Pixels, height: int, width: int, piece: Pixels) -> None:
    """Scale as docTR's `Resize` does; a `Resample`."""
    from worker.kernels.torch_resample import resample_by_torch

    resample_by_torch(crop, height, width, piece)


def by_kernel(crop: Pixels, height: int, width: int, piece: Pixels) -> None:
    """Scale by the compiled kernel, or by torch where the kernel refuses; a `Resample`."""
    if not resample_compiled(crop, height, width, piece):
        by_torch(crop, height, width, piece)


@functools.cache
def make_resample() -> Resample:
    """Return the compiled kernel if it computes the same bits as torch on this machine, else torch's."""
    note = _note()
    found = _read(note) or _compared(note)
    if found == SAME:
        return by_kernel
    structlog.get_logger().info("resample_by_torch", reason="the compiled kernel computes other bits here")
    return by_torch


def _compared(note: Path) -> str:
    """Compare the kernel with torch, and note the outcome if the folder can be written."""
    from worker.kernels.torch_resample import kernel_agrees

    found = SAME if kernel_agrees() else OTHER
    with contextlib.suppress(OSError):
        note.parent.mkdir(parents=True, exist_ok=True)
        unfinished = note.with_name(f".{note.name}.{os.getpid()}")
        unfinished.write_text(found)
        unfinished.replace(note)
    return found


def _read(note: Path) -> str | None:
    """Return what a note says; None without one, or for a damaged one."""
    try:
        found = note.read_text()
    except (OSError, ValueError):
        return None
    return found if found in (SAME, OTHER) else None


def _note() -> Path:
    """Return the note's path: its name depends on what decides which bytes either side computes."""
    versions = [importlib.metadata.version(name) for name in ("llvmlite", "numba", "numpy", "torch")]
    processor = [binding.get_host_cpu_name(), binding.get_host_cpu_features().flatten()]
    sources = [inspect.getsource(module) for module in (compiled, resample, vectors)]
    # Both compilers' settings: which instructions are used, and how far code is optimised.
    switches = sorted(f"{k}={v}" for k, v in os.environ.items() if k.startswith(("ATEN_", "NUMBA_")))
    key = hashlib.sha256("\n".join([*versions, *processor, *sources, *switches]).encode()).hexdigest()[:32]
    return doctr_cache() / "trace-ocr" / f"resample-{key}"
