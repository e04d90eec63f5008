// How sure the readings are, as bars that choose a range of confidence.

import { html } from "../preact/standalone.module.js";
import { changeQuery } from "../router.js";
import { count } from "./time.js";

const HEIGHT = 60;

// By logarithm, since nearly all readings are in the last bins and the others are those of interest.
const heightOf = (number, most) => (number ? Math.max(3, (HEIGHT * Math.log1p(number)) / Math.log1p(most)) : 0);

export function Histogram({ counts, route }) {
  if (!counts.some(Boolean)) return null;
  const most = Math.max(...counts);
  const share = (bin) => Number((bin / counts.length).toFixed(4));
  return html`<div class="histogram" role="group" aria-label="Readings by confidence">
    ${counts.map((number, bin) => {
      const [from, to] = [share(bin), share(bin + 1)];
      return html`<${Bar} key=${bin} number=${number} height=${heightOf(number, most)} from=${from} to=${to} route=${route} />`;
    })}
  </div>`;
}

function Bar({ number, height, from, to, route }) {
  const last = to === 1;
  const within = Number(route.query.at_least ?? 0) <= from && to <= Number(route.query.below ?? 1);
  const only = within && Number(route.query.at_least ?? 0) === from && (last || Number(route.query.below) === to);
  const label = `${count(number)} from ${from} to ${to}`;
  const range = only ? { at_least: null, below: null } : { at_least: from || null, below: last ? null : to };
  const choose = () => changeQuery(route, { ...range, cursor: null, at: null, edit: null, order: null });
  return html`<button type="button" class=${within ? "within" : ""} aria-pressed=${only} title=${label} aria-label=${label} onClick=${choose}>
    <svg viewBox=${`0 0 10 ${HEIGHT}`} preserveAspectRatio="none" aria-hidden="true">
      <rect x="0" width="10" y=${HEIGHT - height} height=${height} />
    </svg>
  </button>`;
}
