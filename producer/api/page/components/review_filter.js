// Which items are shown: what is in the fields is in the address.

import { html, useRef } from "../preact/standalone.module.js";
import { changeQuery } from "../router.js";

const FIELDS = [
  ["q", "Text contains"],
  ["id", "Id begins with"],
  ["below", "Confidence below"],
];

export function ReviewFilter({ codes, route }) {
  const form = useRef(null);
  const change = (event) => {
    event?.preventDefault();
    const given = Object.fromEntries([...new FormData(form.current)].map(([name, value]) => [name, value.trim() || null]));
    const searches = given.q || given.id || given.code;
    changeQuery(route, { ...given, order: searches ? null : given.order, at_least: null, cursor: null, at: null, edit: null });
  };
  return html`<form class="bar" role="search" ref=${form} onSubmit=${change}>
    ${FIELDS.map(
      ([name, label]) => html`<label key=${`${name} ${route.query[name] ?? ""}`}>${label} <input name=${name} ...${name === "below" ? { type: "number", min: 0, max: 1, step: "any" } : {}} defaultValue=${route.query[name] ?? ""} /></label>`,
    )}
    <label>Show <select name="code" value=${route.query.code ?? ""} onChange=${change}>
      <option value="">results</option>
      <option value="any">failed items</option>
      ${[...new Set([...codes, ...(route.query.code && route.query.code !== "any" ? [route.query.code] : [])])].map(
        (code) => html`<option key=${code} value=${code}>${code}</option>`,
      )}
    </select></label>
    <label>Order <select name="order" value=${route.query.order ?? ""} onChange=${change}>
      <option value="">least certain first</option>
      <option value="source">as in the source</option>
    </select></label>
    <button>Find</button>
  </form>`;
}
