"""Stage 1: a folder, an S3 prefix or a manifest to an iterator of items, in flat memory.

Folders and prefixes are listed in the order of their UTF-8 names, so the same files give the same items in
the same order from either.
"""

import heapq
import json
import os
import stat
import tempfile
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO

from contract.errors import (
    AccessDeniedError,
    InterruptedRunError,
    ObjectMissingError,
    SourceError,
    UsageError,
)
from contract.job import Source
from contract.records import SHOWN, Item
from contract.storage import Storage, is_remote
from producer.sources.manifest import read_manifest

IMAGE_EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff"})
"""Names that are taken for images; what is in them is looked at by the worker alone."""

PAGE_EXTENSIONS = IMAGE_EXTENSIONS | {".pdf"}
"""Names that are taken for pages."""

MANIFEST_EXTENSIONS = (".jsonl", ".csv")

SORT_IN_MEMORY = 100_000
"""Names of one folder sorted in memory, some 10 MB; a larger folder is sorted in runs on disk."""


class Listing:
    """The items of one source; iterate once.

    `passed_over` counts, by reason and as the iteration goes on, what was seen and is not an item.
    """

    def __init__(self, items: Iterator[Item], passed_over: Counter[str]) -> None:
        self._items = items
        self.passed_over = passed_over

    def __iter__(self) -> Iterator[Item]:
        return self._items

    def until(self, stop: threading.Event) -> "Listing":
        """Return the listing that ends with InterruptedRunError once `stop` is set."""

        def items() -> Iterator[Item]:
            for item in self._items:
                if stop.is_set():
                    raise InterruptedRunError("planning was stopped; submitting again continues it")
                yield item

        return Listing(items(), self.passed_over)


def identify_source(text: str) -> Source:
    """Return what the user's SOURCE argument names.

    Raises:
        UsageError: no such folder or file, or a file that is no manifest
    """
    if text == "-":
        return Source(type="manifest", uri="-")
    if is_remote(text):
        if text.endswith(MANIFEST_EXTENSIONS):
            return Source(type="manifest", uri=text)
        if _has_extension(text, PAGE_EXTENSIONS):
            return Source(type="file", uri=text)
        return Source(type="s3", uri=text.rstrip("/") + "/")
    try:
        return _identify_path(text, os.path.realpath(text))
    except (OSError, ValueError) as error:
        raise UsageError(f"{text[:SHOWN]!r} can be no path: {error}") from error


def _identify_path(text: str, path: str) -> Source:
    if text.endswith(MANIFEST_EXTENSIONS) and Path(path).is_file():
        return Source(type="manifest", uri=path)
    if Path(path).is_dir():
        return Source(type="folder", uri=path)
    if Path(path).is_file() and _has_extension(path, PAGE_EXTENSIONS):
        return Source(type="file", uri=path)
    if Path(path).exists():
        raise UsageError(
            f"{text} is neither a folder, nor an image or PDF, nor a manifest (.jsonl, .csv): "
            "name its folder instead"
        )
    raise UsageError(f"there is no folder, file or manifest {text}")


def root_of(source: Source) -> str:
    """Return the folder or prefix that a source's relative names start from; the working folder for `-`."""
    if source.type in ("folder", "s3"):
        return source.uri
    if source.uri == "-":
        return str(Path.cwd())
    return source.uri.rpartition("/")[0] or "/"


def list_source(
    source: Source, storage: Storage, stdin: IO[bytes], extensions: frozenset[str] = IMAGE_EXTENSIONS
) -> Listing:
    """Return the source's items; nothing is read before the first one is asked for.

    Args:
        extensions: of the names that are taken from a folder or prefix

    Raises (while iterating):
        SourceError: a folder cannot be listed, or the manifest is malformed
    """
    passed_over: Counter[str] = Counter()
    if source.type == "folder":
        return Listing(_walk(source.uri, "", passed_over, extensions), passed_over)
    if source.type == "s3":
        return Listing(_list_prefix(source.uri, storage, passed_over, extensions), passed_over)
    if source.type == "file":
        return Listing(_one_file(source.uri, passed_over, extensions), passed_over)
    return Listing(read_manifest(source.uri, root_of(source), storage, stdin, passed_over), passed_over)


def _one_file(uri: str, passed_over: Counter[str], extensions: frozenset[str]) -> Iterator[Item]:
    if _has_extension(uri, extensions):
        yield Item(id=uri.rpartition("/")[2], uri=uri)
    else:
        passed_over["other_extension"] += 1


def _walk(root: str, below: str, passed_over: Counter[str], extensions: frozenset[str]) -> Iterator[Item]:
    """Yield the items of one folder and those below it. Folders sort with their slash, as keys do on S3."""
    for name in sort_in_runs(_entries(os.path.join(root, below), passed_over, extensions)):  # noqa: PTH118 - a Path would fold '//'
        if name.endswith("/"):
            yield from _walk(root, below + name, passed_over, extensions)
        else:
            identity = _printable(below + name)
            yield Item(id=identity, uri=f"{root.rstrip('/')}/{identity}")


def _entries(folder: str, passed_over: Counter[str], extensions: frozenset[str]) -> Iterator[str]:
    try:
        with os.scandir(folder) as entries:
            for entry in entries:
                reason = _reason_to_pass_over(entry, extensions)
                if reason:
                    passed_over[reason] += 1
                else:
                    yield entry.name + ("/" if entry.is_dir(follow_symlinks=False) else "")
    except OSError as error:
        raise SourceError(f"the folder {folder} cannot be listed: {error.strerror}") from error


def _reason_to_pass_over(entry: os.DirEntry[str], extensions: frozenset[str]) -> str | None:
    if entry.name.startswith("."):
        return "hidden"
    if entry.is_dir(follow_symlinks=False):
        return None
    try:
        mode = entry.stat().st_mode
    except OSError:
        # A link to nowhere, to itself or into a locked folder stays an item, so that it ends as an error
        # line and not as a silent gap.
        mode = stat.S_IFREG
    if stat.S_ISDIR(mode):
        return "linked_folder"
    if not _has_extension(entry.name, extensions):
        return "other_extension"
    return None if stat.S_ISREG(mode) else "not_a_file"


def _list_prefix(
    prefix: str, storage: Storage, passed_over: Counter[str], extensions: frozenset[str]
) -> Iterator[Item]:
    for uri in _keys(prefix, storage):
        identity = uri.removeprefix(prefix)
        if uri.endswith("/"):
            passed_over["placeholder"] += 1
        elif any(part.startswith(".") for part in identity.split("/")):
            passed_over["hidden"] += 1
        elif not _has_extension(identity, extensions):
            passed_over["other_extension"] += 1
        else:
            yield Item(id=identity, uri=uri)


def _keys(prefix: str, storage: Storage) -> Iterator[str]:
    try:
        for uri, _ in storage.at(prefix).objects(prefix):
            yield uri
    except (ObjectMissingError, AccessDeniedError) as error:
        raise SourceError(f"the prefix {prefix} cannot be listed: {error}") from error


def _has_extension(name: str, extensions: frozenset[str]) -> bool:
    return os.path.splitext(name)[1].lower() in extensions  # noqa: PTH122 - an S3 key is no path


def _printable(name: str) -> str:
    r"""Return the name as UTF-8 can hold it; stray bytes become \xNN, and the item ends as not found."""
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def sort_in_runs(names: Iterable[str], run_length: int = SORT_IN_MEMORY) -> Iterator[str]:
    """Yield the names in order, holding at most `run_length` of them: sorted runs on disk, then a merge."""
    source = iter(names)
    run = sorted(islice(source, run_length))
    if len(run) < run_length:
        yield from run
        return
    with tempfile.TemporaryDirectory(prefix="trace-ocr-sort-") as folder:
        paths: list[Path] = []
        while run:
            paths.append(Path(folder, str(len(paths))))
            with paths[-1].open("w", encoding="ascii") as file:
                file.writelines(json.dumps(name) + "\n" for name in run)
            run = sorted(islice(source, run_length))
        yield from heapq.merge(*map(_read_run, paths))


def _read_run(path: Path) -> Iterator[str]:
    with path.open(encoding="ascii") as file:
        yield from map(json.loads, file)
