"""What the scenes' jobs read: the sample crops; or pages of images, a PDF and a TIFF, quick to read.

Or regions of such pages, by a manifest next to them. Or crops in shards.
"""

import json
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path

import lmdb
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

PAGE_SIZE = (360, 240)
"""Of a page, in pixels: some words, little to decode."""

WORDS = 4
"""Of a page."""

DOCUMENT_PAGES = 9
"""Pages of each document: with one digit, ids in source order are in the alphabet's order too."""


@dataclass(frozen=True)
class Kind:
    """A kind of job to break.

    Args:
        items: ids, in source order
        options: of `submit`
        parameters: the same, over HTTP
        manifest: the name of the file in the folder that lists the items, or of the shards that hold them;
            empty if the folder itself does
    """

    folder: Path
    items: tuple[str, ...]
    chunk_size: int
    parameters: dict[str, str]
    manifest: str = ""

    @property
    def options(self) -> tuple[str, ...]:
        """Return the parameters as flags."""
        flags = ((f"--{name.replace('_', '-')}", value) for name, value in self.parameters.items())
        return tuple(word for flag in flags for word in flag)

    @property
    def in_shards(self) -> bool:
        """Return whether the items are read by ranges of a few files."""
        return self.manifest.startswith("{")

    @property
    def files(self) -> list[str]:
        """Return the names of the files, which for pages are fewer than the items."""
        return sorted(path.name for path in self.folder.iterdir() if path.name != self.manifest)

    def of(self, folder: Path, items: list[str]) -> "Kind":
        """Return the same kind over a folder of one's own."""
        return replace(self, folder=folder, items=tuple(items))

    def part(self, folder: Path, names: list[str]) -> "Kind":
        """Copy some of the files into a folder; return the same kind over them."""
        folder.mkdir()
        for name in names:
            shutil.copy(self.folder / name, folder)
        if self.manifest:
            lines = (self.folder / self.manifest).read_text().splitlines(keepends=True)
            wanted = [line for line in lines if json.loads(line)["uri"] in names]
            (folder / self.manifest).write_text("".join(wanted))
        return self.of(folder, self.items_of(names))

    def items_of(self, names: Iterable[str]) -> list[str]:
        """Return the ids of the items that are in these files."""
        wanted = set(names)
        return [identity for identity in self.items if identity.partition("#")[0] in wanted]


def crops(samples: Path, folder: Path, count: int | None = None) -> Kind:
    """Return a job of the first `count` sample crops, or all."""
    names = sorted(path.name for path in samples.iterdir())[:count]
    folder.mkdir()
    for name in names:
        shutil.copy(samples / name, folder)
    return Kind(folder, tuple(names), 8 if count is None else 4, {})


def compared_crops(samples: Path, folder: Path, count: int | None = None) -> Kind:
    """Return a job that reads sample crops with two models."""
    models = {"kind": "compare", "models": "crnn_mobilenet_v3_small,mobilenet-2025"}
    return replace(crops(samples, folder, count), parameters=models)


def regions(samples: Path, folder: Path, images: int, chunk_size: int = 6) -> Kind:
    """Return a job of the words on such pages: by default, the words of a page may be in two chunks."""
    of_pages = pages(samples, folder, images)
    lines, ids = [], []
    for identity in of_pages.items:
        name, _, page = identity.partition("#page=")
        for number, row in enumerate(range(WORDS), 1):
            line = {"uri": name, "region": _box(row), **({"page": int(page)} if page else {})}
            lines.append(json.dumps(line) + "\n")
            ids.append(f"{identity}{'&' if page else '#'}r={number}")
    (folder / "regions.jsonl").write_text("".join(lines))
    return Kind(folder, tuple(ids), chunk_size, {}, "regions.jsonl")


def shards(samples: Path, folder: Path, count: int = 256, form: str = "tar") -> Kind:
    """Return a job of sample crops in two shards of a format, each of which several chunks read."""
    names = sorted(path.name for path in samples.iterdir())[:count]
    folder.mkdir()
    half, ids = len(names) // 2, []
    for number, some in enumerate((names[:half], names[half:])):
        shard = folder / f"{number}.{form}"
        found = _PACKERS[form](shard, [samples / name for name in some])
        ids += [f"{shard.name}/{name}" for name in found]
    return Kind(folder, tuple(ids), 8 if count == 256 else 4, {}, f"{{0..1}}.{form}")


def _tar(shard: Path, crops: list[Path]) -> list[str]:
    """Pack crops; return the ids of the shard's images, as its format names them."""
    with tarfile.open(shard, "w") as archive:
        for path in crops:
            archive.add(path, path.name)
    return [path.name for path in crops]


def _parquet(shard: Path, crops: list[Path]) -> list[str]:
    rows = [{"bytes": path.read_bytes(), "path": path.name} for path in crops]
    pq.write_table(pa.table({"image": rows}), shard, row_group_size=len(crops) // 4)
    return [f"{number:09d}" for number in range(len(crops))]


def _lmdb(shard: Path, crops: list[Path]) -> list[str]:
    ids = [f"image-{number:09d}" for number in range(1, len(crops) + 1)]
    with (
        lmdb.open(str(shard), subdir=False, lock=False, map_size=1 << 24) as file,
        file.begin(write=True) as change,
    ):
        change.put(b"num-samples", str(len(crops)).encode())
        for identity, path in zip(ids, crops, strict=True):
            change.put(identity.encode(), path.read_bytes())
    return ids


_PACKERS = {"tar": _tar, "parquet": _parquet, "lmdb": _lmdb}


def pages(samples: Path, folder: Path, images: int) -> Kind:
    """Return a job of so many images of pages, a PDF and a TIFF, all made of the sample crops."""
    words = sorted(path for path in samples.iterdir() if path.suffix in {".png", ".jpg"})
    folder.mkdir()
    numbers = range(images + 2 * DOCUMENT_PAGES)
    made = [_page(words[WORDS * number : WORDS * (number + 1)]) for number in numbers]
    names = [f"{number:03d}.png" for number in range(images)]
    for name, page in zip(names, made, strict=False):
        page.save(folder / name)
    ids = names
    for suffix in ("pdf", "tiff"):
        first, *others = made[images : images + DOCUMENT_PAGES]
        made = made[DOCUMENT_PAGES:]
        first.save(folder / f"document.{suffix}", save_all=True, append_images=others)
        ids = [*ids, *(f"document.{suffix}#page={page}" for page in range(1, DOCUMENT_PAGES + 1))]
    return Kind(folder, tuple(ids), 3, {"kind": "ocr", "detection_model": "linknet_resnet18"})


def _page(words: list[Path]) -> Image.Image:
    page = Image.new("RGB", PAGE_SIZE, "white")
    for row, path in enumerate(words):
        with Image.open(path) as word:
            left, top, right, bottom = _box(row)
            page.paste(word.convert("RGB").resize((right - left, bottom - top)), (left, top))
    return page


def _box(row: int) -> tuple[int, int, int, int]:
    """Return where the word of a row is on its page."""
    return 30, 20 + 50 * row, 230, 60 + 50 * row
