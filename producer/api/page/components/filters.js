// Which jobs are shown: a search, chips, and conditions; all of it is in the address.

import { html } from "../preact/standalone.module.js";
import { useOnce } from "../live.js";
import { changeQuery, href } from "../router.js";
import { Field } from "./field.js";
import { count } from "./time.js";

const CHIPS = [["", "all"], ["attention", "needs attention"], ["running", "running"], ["ended", "ended"]];
// Where the conditions fit beside each other, their fold is not shown.
const WIDE = matchMedia("(min-width: 761px)");

const CONDITIONS = [
  ["tag", "Tag", { type: "search", maxlength: 64 }],
  ["tenant", "Tenant", { type: "search", maxlength: 64 }],
  ["from", "From", { type: "date" }],
  ["to", "to", { type: "date" }],
];

export function Filters({ route, counts }) {
  const change = (name) => (value) => changeQuery(route, { [name]: value, after: null, before: null }, { replace: true });
  return html`<form class="filters" role="search" aria-label="Jobs" onSubmit=${(event) => event.preventDefault()}>
    <${Field} name="q" label="Search" type="search" maxlength="200" live value=${route.query.q ?? ""} onCommit=${change("q")} />
    <${Chips} route=${route} counts=${counts} />
    <details class="more" open=${WIDE.matches}>
      <summary>More conditions</summary>
      <${Kinds} chosen=${route.query.kind ?? ""} onChange=${change("kind")} />
      <${States} chosen=${route.query.status ?? ""} onChange=${change("status")} />
      ${CONDITIONS.map(
        ([name, label, rest]) => html`<${Field}
          key=${name} name=${name} label=${label} ...${rest} value=${route.query[name] ?? ""} onCommit=${change(name)} />`,
      )}
    </details>
  </form>`;
}

function Chips({ route, counts }) {
  const { state: chosen = "", after, before, ...others } = route.query;
  return html`<ul class="chips" aria-label="State">
    ${CHIPS.map(
      ([state, words]) => html`<li key=${state}>
        <a class="chip" href=${href(route.path, { ...others, state })} aria-current=${chosen === state ? "true" : null}>
          ${words}${counts && state && html` <small>${count(counts[state])}</small>`}
        </a>
      </li>`,
    )}
  </ul>`;
}

function Kinds({ chosen, onChange }) {
  const { data } = useOnce("/kinds");
  return html`<${Select} name="kind" label="Kind" options=${data?.data.map(({ name }) => name)} chosen=${chosen} onChange=${onChange} />`;
}

// The states are those of the API's OpenAPI description.
function States({ chosen, onChange }) {
  const { data } = useOnce("/openapi.json");
  const states = data?.components.schemas.State.enum;
  return html`<${Select} name="status" label="Status" options=${states} chosen=${chosen} onChange=${onChange} />`;
}

function Select({ name, label, options, chosen, onChange }) {
  const shown = options ?? (chosen ? [chosen] : []);
  return html`<span class="field">
    <label for=${name}>${label}</label>
    <select id=${name} value=${chosen} onChange=${(event) => onChange(event.target.value)}>
      <option value="">all</option>
      ${shown.map((one) => html`<option key=${one} value=${one}>${one.replaceAll("_", " ")}</option>`)}
    </select>
  </span>`;
}
