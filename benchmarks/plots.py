"""Bars as SVG, without a plotting library: a benchmark should not need one."""

import statistics
from html import escape
from pathlib import Path

LEFT, RIGHT, BAR, GAP = 150, 420, 22, 8
"""Pixels: where bars begin, the longest one, its height, the space between."""


def bars(title: str, unit: str, values: dict[str, list[float]], path: Path) -> None:
    """Write the medians as horizontal bars, with a whisker from the least to the greatest."""
    top = max(max(measured) for measured in values.values())
    height = 40 + len(values) * (BAR + GAP)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{LEFT + RIGHT + 130}" height="{height}" '
        'font-family="sans-serif" font-size="13">',
        f'<text x="8" y="20" font-weight="bold">{escape(title)}</text>',
    ]
    for row, (name, measured) in enumerate(values.items()):
        y, scale = 34 + row * (BAR + GAP), RIGHT / top
        middle = statistics.median(measured)
        colour = "#2b6cb0" if name == "trace-ocr" else "#a0aec0"
        low, high = LEFT + min(measured) * scale, LEFT + max(measured) * scale
        parts += [
            f'<text x="{LEFT - 8}" y="{y + 16}" text-anchor="end">{escape(name)}</text>',
            f'<rect x="{LEFT}" y="{y}" width="{middle * scale:.1f}" height="{BAR}" fill="{colour}"/>',
            f'<path d="M{low:.1f} {y + BAR / 2}H{high:.1f}" stroke="#1a202c" stroke-width="1.5"/>',
            f'<text x="{LEFT + RIGHT + 10}" y="{y + 16}">{middle:,.4g} {escape(unit)}</text>',
        ]
    path.write_text("\n".join([*parts, "</svg>", ""]), encoding="utf-8")
