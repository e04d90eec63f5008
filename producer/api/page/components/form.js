// The fields of the form for a new job, each with its help.

import { html } from "../preact/standalone.module.js";
import { BY_LINE } from "./request.js";

export function FormField({ name, label, help, value, onInput, rows, ...others }) {
  const properties = {
    id: name, value, autocomplete: "off", spellcheck: false, "aria-describedby": `${name}-help`, ...others,
    onInput: (event) => onInput(event.target.value),
  };
  return html`<div class="form-field">
    <label for=${name}>${label}</label>
    ${rows ? html`<textarea rows=${rows} ...${properties} />` : html`<input ...${properties} />`}
    <small id=${`${name}-help`}>${help}</small>
  </div>`;
}

export function KindChoice({ kinds, kind, onChange }) {
  return html`<div class="form-field">
    <label for="kind">Kind</label>
    <select id="kind" value=${kind.name} aria-describedby="kind-help" onChange=${(event) => onChange(event.target.value)}>
      ${kinds.map(({ name }) => html`<option key=${name} value=${name}>${name}</option>`)}
    </select>
    <small id="kind-help">${kind.help}</small>
  </div>`;
}

const words = (name) => name.replaceAll("_", " ");

// A field for a parameter, as its type and its choices ask for; an empty one takes the deployment's default.
export function Parameter({ parameter, models, value, onInput }) {
  const { name, type, choices, minimum, maximum, help } = parameter;
  const placeholder = shown(parameter.default);
  if (type === "boolean") return html`<${Choice} parameter=${parameter} options=${["true", "false"]} value=${value} onInput=${onInput} />`;
  if (choices && type !== "array") return html`<${Choice} parameter=${parameter} options=${choices} value=${value} onInput=${onInput} />`;
  const isNumber = type === "integer" || type === "number";
  const named = parameter.task ? models.filter(({ task }) => task === parameter.task) : [];
  const list = choices ?? named.map((model) => model.name);
  const listed = list.length && type !== "array" ? { list: `${name}-list` } : {};
  const numbers = isNumber ? { type: "number", min: minimum, max: maximum, step: type === "integer" ? 1 : "any" } : {};
  const offered = list.length && type === "array" ? `${help}; of ${list.join(", ")}` : help;
  const rows = BY_LINE.has(name) ? { rows: 2 } : {};
  return html`<${FormField} name=${name} label=${words(name)} help=${offered} placeholder=${placeholder} value=${value} onInput=${onInput} ...${numbers} ...${listed} ...${rows} />
    ${listed.list && html`<datalist id=${listed.list}>${list.map((one) => html`<option key=${one} value=${one} />`)}</datalist>`}`;
}

function Choice({ parameter, options, value, onInput }) {
  const { name, help } = parameter;
  const usual = parameter.default === null ? "the default" : `${shown(parameter.default)} (the default)`;
  return html`<div class="form-field">
    <label for=${name}>${words(name)}</label>
    <select id=${name} value=${value} aria-describedby=${`${name}-help`} onChange=${(event) => onInput(event.target.value)}>
      <option value="">${usual}</option>
      ${options.map((one) => html`<option key=${one} value=${one}>${one}</option>`)}
    </select>
    <small id=${`${name}-help`}>${help}</small>
  </div>`;
}

const shown = (value) => (Array.isArray(value) ? value.join(", ") : String(value ?? ""));
