// A page with its words drawn on it, and the words, the least certain first, to correct.

import { html, useEffect, useRef, useState } from "../preact/standalone.module.js";
import { useOnce } from "../live.js";
import { Correct, Reading } from "./correct.js";
import { usePicture } from "./pictures.js";
import { PageWithRegions } from "./regions.js";
import { counted } from "./time.js";

const SHOWN = 40, SHOWN_TEXT = 200, SIDE = 2000;

// The corners of a box or a polygon, relative to the page.
function corners(geometry) {
  if (geometry.length !== 4) return geometry.flatMap((x, at) => (at % 2 ? [] : [[x, geometry[at + 1]]]));
  const [left, top, right, bottom] = geometry;
  return [[left, top], [right, top], [right, bottom], [left, bottom]];
}

const asRegion = ({ index, geometry, value, confidence }) => ({
  id: `word ${index}`, region: { corners: corners(geometry), unit: "rel" }, value, confidence, error: null,
});

export function ReviewedPage({ item, path, may, onSaved }) {
  const { data, problem } = useOnce(`${path}/items/${item.chunk}/${item.index}`);
  const [changed, setChanged] = useState(null);
  const { url, problem: noPicture } = usePicture(`${path}/pages/${item.chunk}/${item.index}.jpg?side=${SIDE}`);
  const [chosen, setChosen] = useState(null);
  const top = useRef(null);
  useEffect(() => top.current?.scrollIntoView({ block: "nearest" }), [Boolean(data)]);
  if (problem) return html`<p class="error">${problem.message}</p>`;
  const whole = changed ?? data;
  if (!whole) return null;
  const saved = (after) => {
    setChanged(after);
    onSaved({ ...item, value: after.value.slice(0, SHOWN_TEXT) });
    setChosen(null);
  };
  return html`<section class="reviewed" aria-label=${`Page ${item.id}`} ref=${top}>
    <h3>${item.id}</h3>
    ${noPicture && html`<p class="error">${noPicture.message}</p>`}
    <div class="columns">
      ${url && html`<${PageWithRegions} url=${url} regions=${whole.words.map(asRegion)} chosen=${`word ${chosen}`} onChoose=${(id) => setChosen(Number(id.slice(5)))} />`}
      <${Words} words=${whole.words} chosen=${chosen} onChoose=${setChosen} may=${may} path=${path} item=${whole} onSaved=${saved} onStale=${setChanged} />
    </div>
  </section>`;
}

function Words({ words, chosen, onChoose, may, ...correcting }) {
  const [all, setAll] = useState(false);
  const sorted = [...words].sort((a, b) => (a.confidence ?? 0) - (b.confidence ?? 0));
  const shown = all ? sorted : sorted.slice(0, SHOWN);
  if (!words.length) return html`<p class="nothing">nothing read</p>`;
  return html`<div>
    <ol class="words">
      ${shown.map((word) => html`<${Word} key=${word.index} word=${word} chosen=${word.index === chosen} onChoose=${onChoose} may=${may} ...${correcting} />`)}
    </ol>
    ${shown.length < words.length && html`<button type="button" onClick=${() => setAll(true)}>${`All ${counted(words.length, "word")}`}</button>`}
  </div>`;
}

function Word({ word, chosen, onChoose, may, path, item, onSaved, onStale }) {
  const sure = word.confidence === null ? "" : `${(100 * word.confidence).toFixed(0)}%`;
  return html`<li class=${chosen ? "chosen" : ""}>
    <span class="confidence">${sure}</span>
    ${chosen && may
      ? html`<${Correct} path=${path} item=${item} word=${word} onSaved=${onSaved} onStale=${onStale} onLeave=${() => onChoose(null)} />`
      : html`<${Reading} ...${word} /> <button type="button" aria-pressed=${chosen} onClick=${() => onChoose(chosen ? null : word.index)}>${may ? "Correct" : "Show"}</button>`}
  </li>`;
}
