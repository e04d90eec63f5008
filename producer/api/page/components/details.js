// What a job was asked to do.

import { html } from "../preact/standalone.module.js";

export function Details({ job }) {
  return html`<section aria-labelledby="details">
    <h3 id="details">Details</h3>
    <dl class="facts">
      <${Fact} name="Source">${job.source}<//>
      <${Fact} name="Workspace">${job.workspace}<//>
      <${Fact} name="Kind">${job.kind}<//>
      <${Fact} name="Tenant">${job.tenant}<//>
      <${Fact} name="Tags">${job.tags.join(", ")}<//>
      ${Object.entries(job.metadata).map(([name, text]) => html`<${Fact} key=${`metadata ${name}`} name=${name}>${text}<//>`)}
    </dl>
  </section>`;
}

// Nothing is shown of what is empty.
export function Fact({ name, children }) {
  if (children === "" || children === null || children === undefined) return null;
  return html`<div><dt>${name}</dt><dd>${children}</dd></div>`;
}
