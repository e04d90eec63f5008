// The command line and the HTTP request that submit what the form says, to copy.

import { html, useState } from "../preact/standalone.module.js";
import { commandLine, curlLine } from "./request.js";

export function Commands({ request }) {
  return html`<${Line} name="Command line" text=${commandLine(request)} />
    <${Line} name="curl" text=${curlLine(request, location.origin)} />`;
}

function Line({ name, text }) {
  const [copied, setCopied] = useState("");
  const copy = (event) => {
    select(event.target.closest("figure").querySelector("code"));
    // Only pages over https may write to the clipboard; elsewhere the text is selected, to be copied by hand.
    const written = navigator.clipboard ? navigator.clipboard.writeText(text) : Promise.reject();
    written.then(() => setCopied(text), () => {});
  };
  return html`<figure class="command">
    <figcaption>${name} <button type="button" onClick=${copy}>${copied === text ? "Copied" : "Copy"}</button></figcaption>
    <pre tabindex="0"><code>${text}</code></pre>
  </figure>`;
}

function select(element) {
  const range = document.createRange();
  range.selectNodeContents(element);
  getSelection().removeAllRanges();
  getSelection().addRange(range);
}
