"""The plots next to the table, as SVG."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

OURS, OTHERS = "#2b6cb0", "#a0aec0"


def draw(details: Mapping[str, Any], folder: Path) -> list[Path]:
    """Draw the measurements; return the files.

    Args:
        details: `rates` {title: {contestant: values}}, `stages` {title: {stage: us per crop}},
            `cost` {measure: {items: seconds}}, `fleet` {devices: {figure: value}}; others are not drawn
    """
    drawn = [
        _save(folder / f"rates-{title}.svg", title, lambda axes, v=values: _bars(axes, v))
        for title, values in details.get("rates", {}).items()
    ]
    if stages := details.get("stages"):
        drawn.append(
            _save(folder / "stages.svg", "where a crop's time goes", lambda axes: _stages(axes, stages))
        )
    if cost := details.get("cost"):
        drawn.append(
            _save(folder / "cost.svg", "cost against number of items", lambda axes: _cost(axes, cost))
        )
    if fleet := details.get("fleet"):
        drawn.append(
            _save(folder / "fleet.svg", "cost of a chunk against devices", lambda axes: _fleet(axes, fleet))
        )
    return drawn


def _save(path: Path, title: str, paint: Callable[[Any], None]) -> Path:
    import matplotlib as mpl
    from matplotlib.figure import Figure

    # No date and no random ids: the same figures give the same file.
    with mpl.rc_context({"svg.hashsalt": "trace-ocr", "font.size": 10}):
        figure = Figure(figsize=(7, 3), layout="constrained")
        axes = figure.subplots()
        paint(axes)
        axes.set_title(title)
        axes.spines[["top", "right"]].set_visible(False)
        figure.savefig(path, format="svg", metadata={"Date": None})
    return path


def _bars(axes: Any, values: Mapping[str, Sequence[float]]) -> None:
    names = list(values)[::-1]
    middles = [statistics.median(values[name]) for name in names]
    spread = [
        [middle - min(values[name]) for name, middle in zip(names, middles, strict=True)],
        [max(values[name]) - middle for name, middle in zip(names, middles, strict=True)],
    ]
    colours = [OURS if name.startswith("trace-ocr") else OTHERS for name in names]
    drawn = axes.barh(names, middles, xerr=spread, color=colours)
    axes.bar_label(drawn, [f"{middle:,.4g}" for middle in middles], padding=6)
    axes.margins(x=0.15)


def _stages(axes: Any, stages: Mapping[str, Mapping[str, float]]) -> None:
    names = list(stages)
    left = [0.0] * len(names)
    for stage in dict.fromkeys(stage for of_model in stages.values() for stage in of_model):
        shares = [100 * stages[name].get(stage, 0) / sum(stages[name].values()) for name in names]
        axes.barh(names, shares, left=left, label=stage)
        left = [start + share for start, share in zip(left, shares, strict=True)]
    axes.set_xlabel("% of the seconds of all threads")
    axes.legend(ncols=6, loc="upper center", bbox_to_anchor=(0.5, -0.2), fontsize=8)


def _cost(axes: Any, cost: Mapping[str, Mapping[int, float]]) -> None:
    for measure, by_items in cost.items():
        axes.loglog(list(by_items), list(by_items.values()), marker="o", label=measure)
    axes.set_xlabel("items")
    axes.set_ylabel("seconds")
    axes.legend()


def _fleet(axes: Any, fleet: Mapping[str, Mapping[str, float]]) -> None:
    devices = [int(count) for count in fleet]
    for figure, label in (
        ("workers_ms_per_chunk", "workers' processor, ms"),
        ("commands_per_chunk", "Redis commands"),
        ("redis_ms_per_chunk", "Redis' processor, ms"),
        ("control_ms_per_chunk", "control's processor, ms"),
    ):
        axes.loglog(devices, [of_size[figure] for of_size in fleet.values()], marker="o", label=label)
    axes.set_xticks(devices, [str(count) for count in devices])
    axes.set_xlabel("simulated devices")
    axes.set_ylabel("per chunk")
    axes.legend(fontsize=8)
