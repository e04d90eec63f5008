// One item in the grid: its picture, its text, and what is known of the right one.

import { html } from "../preact/standalone.module.js";
import { Correct, Reading } from "./correct.js";
import { Difference } from "./difference.js";
import { Picture } from "./pictures.js";

const SIDE = 480;

export function ReviewItem({ item, path, chosen, editing, may, opens, onChoose, onSaved, onStale }) {
  const { id, confidence, chunk, index, label, note, error } = item;
  return html`<li tabindex="-1" aria-current=${chosen} class=${chosen ? "chosen" : ""} onClick=${(event) => event.target.closest("button, input") || onChoose(false)}>
    <${Picture} path=${`${path}/crops/${chunk}/${index}.jpg?side=${SIDE}`} label=${id} />
    ${error
      ? html`<p class="error"><code>${error.code}</code> ${error.message}</p>`
      : editing
        ? html`<${Correct} path=${path} item=${item} onSaved=${onSaved} onStale=${onStale} onLeave=${() => onChoose(false)} />`
        : html`<${Reading} ...${item} />`}
    ${!error && label !== null && html`<${Difference} before=${label} after=${item.value} name="label" />`}
    <span class="confidence">${confidence === null ? id : `${(100 * confidence).toFixed(1)}% · ${id}`}</span>
    ${note && html`<span class="confidence">${note}</span>`}
    ${may && !editing && html`<button type="button" onClick=${() => onChoose(true)}>Correct</button>`}
    ${opens && html`<button type="button" onClick=${() => onChoose(false)}>Open the page</button>`}
  </li>`;
}
