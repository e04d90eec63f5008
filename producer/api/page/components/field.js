// A field whose text is passed on when it is complete: on change, or once nothing is typed for a moment.

import { html, useEffect, useRef, useState } from "../preact/standalone.module.js";

const PAUSE_MILLISECONDS = 300;

export function Field({ name, label, value, onCommit, live = false, ...others }) {
  const [text, setText] = useState(value);
  // The newest one: what else is in the address may change while this field waits.
  const commit = useRef(onCommit);
  commit.current = onCommit;
  useEffect(() => setText(value), [value]);
  useEffect(() => {
    if (!live || text.trim() === value) return undefined;
    const timer = setTimeout(() => commit.current(text.trim()), PAUSE_MILLISECONDS);
    return () => clearTimeout(timer);
  }, [text, value]);
  return html`<span class="field">
    <label for=${name}>${label}</label>
    <input
      id=${name}
      autocomplete="off"
      ...${others}
      value=${text}
      onInput=${(event) => setText(event.target.value)}
      onChange=${(event) => onCommit(event.target.value.trim())}
    />
  </span>`;
}
