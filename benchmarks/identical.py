"""`python -m benchmarks.identical`: what reading identical crops once would gain, and what it would cost.

The words are those of the sample pages, which are clean. Scans hardly repeat a crop to the pixel.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator

import click
import deflate
import numpy as np
from doctr.io import DocumentFile
from doctr.utils.geometry import extract_crops

from benchmarks.scene import MOBILENET, SAMPLES
from contract.model_store import ModelStore
from contract.settings import Settings
from contract.storage import Storage
from worker.images.decode import decode_crop
from worker.kernels.pixels import Pixels
from worker.models.recognition import Recogniser, load_recogniser
from worker.models.runtimes.base import RuntimeOptions

ROUNDS = 9


def main() -> None:
    """Print the shares of identical crops, the cost of finding them, and what their neighbours change."""
    store = ModelStore(str(SAMPLES / "weights"), Storage(Settings()))
    recogniser = load_recogniser(MOBILENET, store, "cpu", RuntimeOptions("auto"))
    crops = (path for path in sorted((SAMPLES / "crops").iterdir()) if path.suffix in {".png", ".jpg"})
    sets = {
        "sample crops": _pieces(recogniser, (decode_crop(path.read_bytes(), 10**8).pixels for path in crops)),
        "words of sample pages": _pieces(recogniser, _words()),
    }
    for name, pieces in sets.items():
        found = sum(map(len, _distinct(pieces).values()))
        share = 1 - found / len(pieces)
        click.echo(f"{name}: {found} of {len(pieces)} distinct, {share:.1%} need not be read")
    pieces = np.concatenate(list(sets.values()))
    finding, reading = _seconds(lambda: _distinct(pieces)), _seconds(lambda: recogniser.read(pieces))
    each = 1e6 / len(pieces)
    click.echo(f"finding them: {each * finding:.2f} us a crop; reading: {each * reading:.0f} us")
    together, alone = recogniser.read(pieces), [recogniser.read(piece[None])[0] for piece in pieces]
    same = sum(one[0] == other[0] for one, other in zip(together, alone, strict=True))
    bits = sum(one == other for one, other in zip(together, alone, strict=True))
    click.echo(f"read alone and among others: {same} of {len(pieces)} strings the same, {bits} confidences")


def _pieces(recogniser: Recogniser, crops: Iterator[Pixels]) -> Pixels:
    return np.concatenate([recogniser.prepare(pixels).pieces for pixels in crops])


def _words() -> Iterator[Pixels]:
    """Yield the words of the sample pages, cut out as docTR does."""
    truth = json.loads((SAMPLES / "pages" / "truth.json").read_text(encoding="utf-8"))
    for name, page in truth.items():
        file, _, number = name.partition("#")
        path = SAMPLES / "pages" / file
        read = DocumentFile.from_pdf(path) if path.suffix == ".pdf" else DocumentFile.from_images(path)
        boxes = np.array([one["geometry"] for one in page["words"]])
        if int(number) <= len(read):
            yield from extract_crops(read[int(number) - 1], boxes)


def _distinct(pieces: Pixels) -> dict[int, list[bytes]]:
    """Return the distinct pieces by a checksum; those with the same checksum are compared."""
    found: dict[int, list[bytes]] = {}
    for piece in pieces:
        data = memoryview(piece).cast("B")  # type: ignore[arg-type]
        others = found.setdefault(deflate.crc32(data), [])
        if not any(data == other for other in others):
            others.append(data)  # type: ignore[arg-type]
    return found


def _seconds(run: Callable[[], object]) -> float:
    """Return the median seconds of processor time."""
    used = []
    for _ in range(ROUNDS):
        started = time.process_time()
        run()
        used.append(time.process_time() - started)
    return statistics.median(used)


if __name__ == "__main__":
    main()
