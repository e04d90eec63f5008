"""External sort of names in constant memory: sorted runs on disk, then a merge."""

import heapq
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from contract.scratch import scratch_folder

SORT_IN_MEMORY = 100_000
"""Names of one folder sorted in memory, about 10 MB; a larger folder is sorted in runs on disk."""


T = TypeVar("T", str, list[str])


def sort_in_runs(names: Iterable[T], run_length: int = SORT_IN_MEMORY) -> Iterator[T]:
    """Yield names, or lists that begin with them, in order, with at most `run_length` of them in memory."""
    source = iter(names)
    run = sorted(islice(source, run_length))
    if len(run) < run_length:
        yield from run
        return
    with scratch_folder() as folder:
        paths: list[Path] = []
        while run:
            paths.append(folder / str(len(paths)))
            with paths[-1].open("w", encoding="ascii") as file:
                file.writelines(json.dumps(name) + "\n" for name in run)
            run = sorted(islice(source, run_length))
        yield from heapq.merge(*map(_read_run, paths))


def _read_run(path: Path) -> Iterator[Any]:
    with path.open(encoding="ascii") as file:
        yield from map(json.loads, file)
