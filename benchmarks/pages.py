"""Pages per second: this product through Redis and Celery against other ways to read pages."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pypdfium2

from benchmarks.end_to_end import rate
from benchmarks.in_bfloat16 import measure_in_bfloat16
from benchmarks.page_contestants import DETECTION, PARAMETERS, Words, doctr_loop, onnxtr_loop, ray_pages
from benchmarks.page_process import milliseconds_per_page
from benchmarks.rows import Row, interleaved, median_ratio
from benchmarks.scene import SAMPLES, has_avx512
from benchmarks.service import Service, make_job, serving
from contract.kinds.detection import DetectionParameters

PAGES = 8
"""Pages of all sample documents."""

OVER_DOCTR, OVER_DOCTR_WITH_AVX512 = 2.5, 2.2
"""Targets: pages per second over docTR's loop."""

OVER_OTHERS = 1.3
"""Target: pages per second over OnnxTR's loop, and over Ray Data."""

FEW, MANY = 64, 500
"""Pages of the two documents whose memory is compared."""

GROWTH = 1.1
"""Target: peak memory with the larger document over that with the smaller one: flat, plus noise."""


def pages(
    folder: Path, *, copies: int, rounds: int, memory: bool
) -> tuple[list[Row], dict[str, dict[str, Any]]]:
    """Return the rows of pages, and every measured rate.

    Args:
        copies: of the five sample documents, which are read in one job
        memory: also compare the worker's memory with a small and a large document; about six minutes
    """
    documents = copied(folder, copies)
    files, count = sorted(documents.iterdir()), PAGES * copies
    doctr, onnxtr = doctr_loop(files), onnxtr_loop(files, folder)
    loops = {"docTR": rate(count, doctr), "OnnxTR": rate(count, onnxtr)}
    with serving(SAMPLES / "weights", folder, SAMPLES) as service:
        run = product(service, documents, folder, count)
        rates = interleaved({"trace-ocr": run, **loops, "Ray Data": ray_pages(files, folder)}, rounds)
        rows = [_memory(service, folder)] if memory else []
    out, doctrs = folder / "pages-1", doctr()
    own = folder / "bfloat16"
    own.mkdir()
    rows += measure_in_bfloat16(
        "pages",
        rates,
        lambda: _product_in_bfloat16(documents, own, count),
        loops,
        rounds,
        lambda: _same(own / out.name, doctrs),
    )
    busy = rates["trace-ocr"][0] * _forward_seconds(out) / count
    return [
        *_over_others(rates),
        Row("pages: identical to docTR's, word by word", _same(out, doctrs), "%", 100),
        Row("pages: forwards, of a job's time", 100 * busy, "%"),
        Row("pages: device process outside the models, per page", milliseconds_per_page(documents), "ms"),
        Row("pages: docTR's words that OnnxTR reads the same", 100 * _shared(doctrs, onnxtr()), "%"),
        *rows,
    ], {"rates": {"pages": rates}}


@contextmanager
def _product_in_bfloat16(documents: Path, folder: Path, count: int) -> Iterator[Callable[[], float]]:
    with serving(SAMPLES / "weights", folder, documents, SAMPLES, precision="bfloat16") as service:
        yield product(service, documents, folder, count)


def _same(out: Path, doctrs: list[Words]) -> float:
    """Return the share of a finished job's pages whose words are docTR's, in %."""
    return 100 * sum(map(list.__eq__, words_of(out), doctrs)) / len(doctrs)


def product(service: Service, documents: Path, folder: Path, count: int) -> Callable[[], float]:
    """Return a function that runs a job of `count` pages to its `_SUCCESS`; it returns pages per second.

    The worker has its models by then. The workspaces are `pages-<run>` in the folder.
    """
    runs = iter(range(1_000_000))

    def run() -> float:
        out = folder / f"pages-{next(runs)}"
        return count / service.run(make_job("ocr", PARAMETERS, documents, out), out)

    run()  # the worker starts and loads its models
    return run


def _over_others(rates: dict[str, list[float]]) -> list[Row]:
    over_doctr = OVER_DOCTR_WITH_AVX512 if has_avx512() else OVER_DOCTR
    targets = {"docTR": over_doctr, "OnnxTR": OVER_OTHERS, "Ray Data": OVER_OTHERS}
    return [
        Row(f"pages: end to end over {name}", median_ratio(rates["trace-ocr"], rates[name]), "x", target)
        for name, target in targets.items()
    ]


def _forward_seconds(out: Path) -> float:
    """Return the seconds of a finished job in the forwards of both models."""
    stages = json.loads((out / "summary.json").read_text(encoding="utf-8"))["stage_seconds"]
    return float(stages["detect"] + stages["forward"])


def _shared(pages: Iterable[Words], others: Iterable[Words]) -> float:
    """Return the share of the pages' words that the same page has in the other reading, in any order."""
    pairs = [(Counter(words), Counter(read)) for words, read in zip(pages, others, strict=True)]
    return sum((words & read).total() for words, read in pairs) / sum(words.total() for words, _ in pairs)


def copied(folder: Path, copies: int) -> Path:
    """Return a folder with so many copies of each sample document."""
    documents = folder / "documents"
    documents.mkdir()
    for copy in range(copies):
        for source in sorted((SAMPLES / "pages").iterdir()):
            if source.suffix != ".json":
                (documents / f"{copy:03d}-{source.name}").write_bytes(source.read_bytes())
    return documents


def words_of(out: Path) -> list[Words]:
    """Return the words of each page of a finished job, in order."""
    lines = map(json.loads, (out / "results.jsonl").read_text(encoding="utf-8").splitlines())
    return [
        [
            word["value"]
            for block in page["pages"][0]["blocks"]
            for line in block["lines"]
            for word in line["words"]
        ]
        for page in lines
    ]


def _memory(service: Service, folder: Path) -> Row:
    """Compare the worker's peak memory with a small document, and then with a large one."""
    peaks = []
    for count in (FEW, MANY):
        document = folder / f"{count}.pdf"
        _repeat(SAMPLES / "pages" / "ledger.pdf", count, document)
        parameters = DetectionParameters(detection_model=DETECTION)
        out = folder / f"memory-{count}"
        service.run(make_job("detection", parameters, document, out), out)
        peaks.append(sum(map(_peak_kibibytes, _descendants(service.launcher))))
    return Row(
        f"pages: worker's peak memory over {MANY} pages, over that of {FEW}",
        peaks[1] / peaks[0],
        "x",
        GROWTH,
        at_most=True,
    )


def _repeat(source: Path, count: int, target: Path) -> None:
    with pypdfium2.PdfDocument(source) as pages, pypdfium2.PdfDocument.new() as document:
        document.import_pages(pages, [number % len(pages) for number in range(count)])
        document.save(target)


def _descendants(pid: int) -> Iterator[int]:
    """Yield the descendants of a process, from Linux' /proc."""
    for task in Path(f"/proc/{pid}/task").iterdir():
        for child in map(int, (task / "children").read_text().split()):
            yield child
            yield from _descendants(child)


def _peak_kibibytes(pid: int) -> int:
    fields = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(fields["VmHWM"].split()[0])
