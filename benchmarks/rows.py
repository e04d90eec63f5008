"""One row of the table: the measure, its target, and whether it is reached."""

import contextlib
import importlib.metadata
import json
import os
import platform
import resource
import statistics
import subprocess
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"

BEGIN, END = "<!-- bench:begin -->", "<!-- bench:end -->"
"""The markers around the table in docs/performance.md."""


@dataclass(frozen=True)
class Row:
    """A measure with its target, an upper bound if `at_most`.

    Without a target the row is for information.
    """

    measure: str
    value: float
    unit: str
    target: float | None = None
    at_most: bool = False

    @property
    def passed(self) -> bool:
        """Whether the target is reached."""
        if self.target is None:
            return True
        return self.value <= self.target if self.at_most else self.value >= self.target

    def cells(self) -> tuple[str, str, str, str]:
        """Return the row as text: measure, value, target, verdict."""
        sign = "≤" if self.at_most else "≥"
        target = "" if self.target is None else f"{sign} {self.target:,g} {self.unit}".strip()
        verdict = "" if self.target is None else "pass" if self.passed else "FAIL"
        value = f"{self.value:,.0f}" if self.value >= 1_000 else f"{self.value:.4g}"
        return self.measure, f"{value} {self.unit}".strip(), target, verdict


def interleaved(contestants: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Run each contestant once per round, so that the machine's noise affects all equally."""
    measured: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, run in contestants.items():
            measured[name].append(run())
    return measured


def median_ratio(ours: list[float], theirs: list[float]) -> float:
    """Return the median over rounds of ours / theirs: runs of one round share the machine's state."""
    return statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))


def peak_mebibytes() -> float:
    """Return this process's peak resident memory so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def machine() -> str:
    """Return the machine as text."""
    model = subprocess.run(["lscpu"], capture_output=True, text=True, check=False).stdout  # noqa: S607
    names = [line.partition(":")[2].strip() for line in model.splitlines() if line.startswith("Model name")]
    return f"{os.cpu_count()} cores, {names[0] if names else platform.processor()}, {platform.system()}"


def write(rows: Iterable[Row], name: str, details: dict[str, Any]) -> str:
    """Write `<name>.md` and `<name>.json` into the results; return the table."""
    rows = list(rows)
    lines = [f"Measured on {machine()}, {versions()}.", "", "| measure | reached | must reach | |"]
    lines += ["|---|---|---|---|", *("| " + " | ".join(row.cells()) + " |" for row in rows)]
    table = "\n".join(lines) + "\n"
    (RESULTS / f"{name}.md").write_text(table, encoding="utf-8")
    record = {
        "machine": machine(),
        "versions": versions(),
        "rows": [asdict(row) | {"passed": row.passed} for row in rows],
        **details,
    }
    (RESULTS / f"{name}.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    return table


def versions() -> str:
    """Return the versions of the contestants as text, of those that are installed: few parts need all."""
    found = []
    for name in ("torch", "python-doctr", "onnxruntime", "ncnn", "openvino", "onnxtr", "ray", "pyarrow"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found.append(f"{name} {importlib.metadata.version(name)}")
    return ", ".join(found)


def fill(page: str, table: str) -> str:
    """Return a page with the table between its two markers.

    Raises:
        ValueError: the markers are missing
    """
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not end:
        raise ValueError(f"the page has no {BEGIN} with an {END} behind it")
    return f"{before}{begin}\n{table}{end}{after}"
