// A field for the correct text of an item, or of a word of its page. The same text confirms what was read.

import { html, useContext, useEffect, useRef, useState } from "../preact/standalone.module.js";
import { get, post } from "../api.js";
import { App } from "../live.js";

// `onSaved` gets the item after the correction; `onStale` if somebody else has corrected it since.
export function Correct({ path, item, word = null, onSaved, onStale, onLeave }) {
  const { tell } = useContext(App);
  const field = useRef(null);
  const [busy, setBusy] = useState(false);
  const before = word === null ? item.value : word.value;
  useEffect(() => {
    field.current.focus();
    field.current.select();
  }, []);
  const { id, chunk, index } = item;
  const save = async (event) => {
    event.preventDefault();
    setBusy(true);
    tell(null);
    const correction = { id, chunk, index, before, value: field.current.value, ...(word && { word: word.index }) };
    try {
      onSaved((await post(`${path}/corrections`, { corrections: [correction] })).data[0]);
    } catch (refusal) {
      tell(refusal);
      setBusy(false);
      if (refusal.status === 409) await get(`${path}/items/${chunk}/${index}`).then(onStale, tell);
    }
  };
  const leave = (event) => {
    if (event.key !== "Escape") return;
    event.preventDefault();
    onLeave();
  };
  return html`<form class="correct" onSubmit=${save} onKeyDown=${leave}>
    <input ref=${field} defaultValue=${before} aria-label=${`Correct text of ${word ? word.value || "a word" : id}`} maxlength="4096" readonly=${busy} spellcheck=${false} autocomplete="off" />
    <button disabled=${busy}>Save</button>
  </form>`;
}

// A text, or that there is none; and what was read before somebody corrected it.
export function Reading({ value, corrected_by: by, value_read: read }) {
  return html`${value === "" ? html`<span class="nothing">nothing read</span>` : html`<span class="value">${value}</span>`}
  ${by && html`<span class="corrected">${read === value ? `confirmed by ${by}` : `corrected by ${by}; was ${read === "" ? "empty" : `“${read}”`}`}</span>`}`;
}
