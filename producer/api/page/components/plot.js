// Plots items per second over the newest chunks as SVG.

import { html } from "../preact/standalone.module.js";
import { count } from "./time.js";

const WIDTH = 380, HEIGHT = 150, LEFT = 48, BOTTOM = 22, TOP = 10, RIGHT = 8;

// One bar per interval between the ends of two chunks: items finished, divided by its seconds.
function speeds(marks) {
  const found = [];
  for (let i = 1; i < marks.length; i += 1) {
    const from = marks[i - 1][0], to = marks[i][0];
    if (to - from < 0.05 && found.length) {
      const last = found[found.length - 1];
      last.items += marks[i][1];
      last.to = Math.max(last.to, to);
    } else found.push({ from, to: Math.max(to, from + 0.05), items: marks[i][1] });
  }
  return found.map((one) => ({ ...one, speed: one.items / (one.to - one.from) }));
}

function rounded(top) {
  const unit = 10 ** Math.floor(Math.log10(top));
  return [1, 2, 5, 10].map((step) => step * unit).find((step) => step >= top);
}

export function RatePlot({ marks }) {
  const bars = speeds(marks);
  if (!bars.length) return null;
  const first = bars[0].from, last = bars[bars.length - 1].to;
  const top = rounded(Math.max(...bars.map((bar) => bar.speed), 1));
  const x = (at) => LEFT + ((at - first) / (last - first)) * (WIDTH - LEFT - RIGHT);
  const y = (speed) => TOP + (1 - speed / top) * (HEIGHT - TOP - BOTTOM);
  const label = `Items per second over the last ${Math.round(last - first)} seconds; at most ${count(top)}`;
  return html`<svg viewBox=${`0 0 ${WIDTH} ${HEIGHT}`} role="img" aria-label=${label} class="plot">
    ${[0, top / 2, top].map((mark) => html`<${Mark} key=${mark} mark=${mark} y=${y(mark)} />`)}
    ${bars.map((bar) => {
      const width = Math.max(1, x(bar.to) - x(bar.from) - 1);
      return html`<rect key=${bar.from} x=${x(bar.from)} y=${y(bar.speed)} width=${width} height=${y(0) - y(bar.speed)} />`;
    })}
    <text x=${LEFT} y=${HEIGHT - 6} class="tick-x">${time(first)}</text>
    <text x=${WIDTH - RIGHT} y=${HEIGHT - 6} class="tick-end">${time(last)}</text>
  </svg>`;
}

const time = (at) => new Date(at * 1000).toLocaleTimeString([], { hourCycle: "h23" });

function Mark({ mark, y }) {
  return html`<g>
    <line x1=${LEFT} x2=${WIDTH - RIGHT} y1=${y} y2=${y} class="grid" />
    <text x=${LEFT - 6} y=${y + 4} class="tick-y">${count(mark)}</text>
  </g>`;
}
