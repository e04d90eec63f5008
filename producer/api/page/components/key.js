// Asks for the API key.

import { html, useEffect, useRef } from "../preact/standalone.module.js";

export function KeyDialog({ asked, problem, onKey, onClose }) {
  const dialog = useRef(null);
  const field = useRef(null);
  useEffect(() => {
    if (asked && !dialog.current.open) dialog.current.showModal();
  }, [asked]);
  const close = () => {
    const key = field.current.value.trim();
    field.current.value = "";
    if (key) onKey(key);
    else onClose();
  };
  return html`<dialog id="key-dialog" ref=${dialog} aria-labelledby="key-title" onClose=${close}>
    <form method="dialog">
      <h2 id="key-title">API key</h2>
      <p>The web UI shows what your key allows. The key is kept until you close this browser tab.</p>
      <label for="key">Key</label>
      <input id="key" ref=${field} type="password" autocomplete="off" spellcheck="false" required />
      <p id="key-problem" role="alert">${problem}</p>
      <button type="submit">Open</button>
    </form>
  </dialog>`;
}
