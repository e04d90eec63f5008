"""Graphs converted to ncnn's files, by pnnx, and kept in docTR's cache."""

import hashlib
import importlib.metadata
import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from filelock import FileLock

from contract.model_store import doctr_cache

INPUT, OUTPUT = "in0", "out0"
"""pnnx's names of a model's first input and output."""

CONVERT_SECONDS = 300
"""Limit for one conversion, which takes 3 s of one core for a model of 46 MB."""


class NcnnFiles(NamedTuple):
    """A converted model: its layers, and its weights."""

    param: Path
    weights: Path

    @classmethod
    def within(cls, folder: Path) -> "NcnnFiles":
        """Return those in a folder."""
        return cls(folder / "model.param", folder / "model.bin")


def converted(graph: bytes, shape: tuple[int, int, int], verify: Callable[[NcnnFiles], None]) -> NcnnFiles:
    """Return a graph's files from the cache, converting it if needed; a lock admits one process at a time.

    Args:
        graph: a file of ONNX with one input and one output
        shape: a sample of the input, (3, height, width)
        verify: raises if converted files are not to be kept

    Raises:
        OSError: the cache cannot be written, or pnnx cannot be started
        subprocess.SubprocessError: pnnx failed or took too long
    """
    cache = doctr_cache() / "ncnn"
    key = "-".join([hashlib.sha256(graph).hexdigest(), *map(importlib.metadata.version, ("ncnn", "pnnx"))])
    kept = cache / hashlib.sha256(key.encode()).hexdigest()[:32]
    cache.mkdir(parents=True, exist_ok=True)
    with FileLock(cache.with_suffix(".lock")):
        if not kept.exists():
            with TemporaryDirectory(dir=cache, prefix=".", ignore_cleanup_errors=True) as scratch:
                made = _made(graph, shape, Path(scratch))
                verify(NcnnFiles.within(made))
                made.rename(kept)
    return NcnnFiles.within(kept)


def _made(graph: bytes, shape: tuple[int, int, int], scratch: Path) -> Path:
    """Convert the graph; return a folder in `scratch` with its files alone."""
    made = scratch / "made"
    made.mkdir()
    files = NcnnFiles.within(made)
    (scratch / "graph.onnx").write_bytes(graph)
    command = [
        str(_pnnx()),
        "graph.onnx",
        f"inputshape=[1,{','.join(map(str, shape))}]",
        # Weights are kept as they are; the default rounds them to 16 bits.
        "fp16=0",
        f"ncnnparam={files.param}",
        f"ncnnbin={files.weights}",
    ]
    subprocess.run(command, cwd=scratch, capture_output=True, timeout=CONVERT_SECONDS, check=True)
    return made


def _pnnx() -> Path:
    """Return pnnx's program; the module of that name is a wrapper, which imports torch."""
    found = find_spec("pnnx")
    if not found or not found.origin:
        raise FileNotFoundError("pnnx is not installed: pip install 'trace-ocr-batch[ncnn]'")
    return Path(found.origin).with_name("pnnx")
