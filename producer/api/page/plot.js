// Plots items per second over the newest chunks as SVG, without a library or a build step.

import { count, drawing } from "./dom.js";

const WIDTH = 560, HEIGHT = 150, LEFT = 48, BOTTOM = 22, TOP = 10;

// One bar per interval between the ends of two chunks: items finished, divided by its seconds.
function speeds(rate) {
  const found = [];
  for (let i = 1; i < rate.length; i += 1) {
    const from = rate[i - 1][0], to = rate[i][0];
    if (to - from < 0.05 && found.length) {
      const last = found[found.length - 1];
      last.items += rate[i][1];
      last.to = Math.max(last.to, to);
    } else found.push({ from, to: Math.max(to, from + 0.05), items: rate[i][1] });
  }
  return found.map((one) => ({ ...one, speed: one.items / (one.to - one.from) }));
}

function rounded(top) {
  const unit = 10 ** Math.floor(Math.log10(top));
  return [1, 2, 5, 10].map((step) => step * unit).find((step) => step >= top);
}

export function ratePlot(rate) {
  const bars = speeds(rate);
  if (!bars.length) return null;
  const first = bars[0].from, last = bars[bars.length - 1].to;
  const top = rounded(Math.max(...bars.map((bar) => bar.speed), 1));
  const x = (at) => LEFT + ((at - first) / (last - first)) * (WIDTH - LEFT - 8);
  const y = (speed) => TOP + (1 - speed / top) * (HEIGHT - TOP - BOTTOM);
  const label = `Items per second over the last ${Math.round(last - first)} seconds; at most ${count(top)}`;
  const plot = drawing("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": label, class: "plot" });
  for (const mark of [0, top / 2, top]) {
    plot.append(
      drawing("line", { x1: LEFT, x2: WIDTH - 8, y1: y(mark), y2: y(mark), class: "grid" }),
      drawing("text", { x: LEFT - 6, y: y(mark) + 4, class: "tick-y" }, count(mark)),
    );
  }
  for (const bar of bars) {
    const width = Math.max(1, x(bar.to) - x(bar.from) - 1);
    plot.append(drawing("rect", { x: x(bar.from), y: y(bar.speed), width, height: y(0) - y(bar.speed) }));
  }
  const clock = (at) => new Date(at * 1000).toLocaleTimeString();
  plot.append(
    drawing("text", { x: LEFT, y: HEIGHT - 6, class: "tick-x" }, clock(first)),
    drawing("text", { x: WIDTH - 8, y: HEIGHT - 6, class: "tick-end" }, clock(last)),
  );
  return plot;
}
