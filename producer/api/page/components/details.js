// What a job was asked to do, by whom, and with which models.

import { html } from "../preact/standalone.module.js";

export function Details({ job, details }) {
  return html`<section aria-labelledby="details">
    <h3 id="details">Details</h3>
    <dl class="facts">
      <${Fact} name="Source">${job.source}<//>
      <${Fact} name="Workspace">${job.workspace}<//>
      <${Fact} name="Kind">${job.kind}<//>
      <${Fact} name="Tenant">${job.tenant}<//>
      <${Fact} name="Tags">${job.tags.join(", ")}<//>
      ${details && html`<${Asked} details=${details} />`}
      ${Object.entries(job.metadata).map(([name, text]) => html`<${Fact} key=${`metadata ${name}`} name=${name}>${text}<//>`)}
    </dl>
    ${details && html`<${Parameters} parameters=${details.parameters} />`}
  </section>`;
}

function Asked({ details }) {
  const { models, read_by: readers, submitted_by: by, chunk_size: size, exports: formats, retries, urgent } = details;
  return html`<${Fact} name="Submitted by">${by}<//>
    ${models.map(({ parameter, name }) => html`<${Fact} key=${`${parameter} ${name}`} name=${parameter.replaceAll("_", " ")}>${name}<//>`)}
    ${readers.map((model) => html`<${Fact} key=${`read ${model.weights_sha256}`} name="Read by">${identity(model)}<//>`)}
    <${Fact} name="Chunk size">${size}<//>
    <${Fact} name="Formats">${formats.join(", ")}<//>
    ${retries > 0 && html`<${Fact} name="Retries">${retries}<//>`} ${urgent && html`<${Fact} name="Urgent">yes<//>`}`;
}

// What tells a model from others of its name.
function identity({ architecture, precision, weights_sha256: weights }) {
  return [architecture, precision, weights && `weights ${weights.slice(0, 12)}`].filter(Boolean).join(", ");
}

// Nothing is shown of what is empty.
export function Fact({ name, children }) {
  if (children === "" || children === null || children === undefined) return null;
  return html`<div><dt>${name}</dt><dd>${children}</dd></div>`;
}

function Parameters({ parameters }) {
  return html`<details>
    <summary>All parameters</summary>
    <table class="parameters">
      <tbody>
        ${Object.entries(parameters).map(
          ([name, value]) => html`<tr key=${name}><th scope="row">${name}</th><td>${typeof value === "string" ? value : JSON.stringify(value)}</td></tr>`,
        )}
      </tbody>
    </table>
  </details>`;
}
