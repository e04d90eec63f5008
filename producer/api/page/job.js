// One job: progress, rate, stages, workers, errors, and items with their text.

import { html, useContext, useEffect } from "./preact/standalone.module.js";
import { download, post } from "./api.js";
import { Figures } from "./components/figures.js";
import { Progress } from "./components/progress.js";
import { Samples } from "./components/samples.js";
import { Ago, count, duration } from "./components/time.js";
import { App, useEvents } from "./live.js";

export function JobView({ id }) {
  const path = `/jobs/${encodeURIComponent(id)}`;
  const { data: job, refresh } = useEvents(`${path}/events`);
  useEffect(() => {
    document.title = job ? `${job.status} · ${id}` : id;
  }, [job?.status]);
  if (!job) return null;
  return html`<section>
      <p><a href="#/">All jobs</a></p>
      <h2 class="id">${id} <span class=${`status ${job.status}`}>${job.status.replace("_", " ")}</span></h2>
      <${Progress} job=${job} />
      <${Facts} job=${job} />
      ${job.error && html`<p class="error" role="alert">${job.error}</p>`}
      <${Actions} job=${job} path=${path} refresh=${refresh} />
    </section>
    <${Figures} job=${job} />
    <${Errors} job=${job} />
    <${Samples} path=${path} version=${job.chunks.done} />`;
}

function Actions({ job, path, refresh }) {
  const { tell } = useContext(App);
  const files = job.status === "completed" ? ["results", "errors", ...(job.kind === "compare" ? ["report"] : [])] : [];
  const act = async (action) => {
    if (action === "cancel" && !confirm(`Cancel ${job.id}? Its results so far stay.`)) return;
    tell(null);
    await post(`${path}/${action}`).then(refresh, tell);
  };
  const save = (file) =>
    download(`${path}/${file}`, `${job.id}-${file}.${file === "report" ? "html" : "jsonl"}`).catch(tell);
  return html`<p class="actions">
    ${job.actions.map(
      (action) => html`<button key=${action} type="button" data-action=${action} onClick=${() => act(action)}>
        ${action.replace("-", " ")}
      </button>`,
    )}
    ${files.map(
      (file) => html`<button key=${file} type="button" onClick=${() => save(file)}>${`Download ${file}`}</button>`,
    )}
  </p>`;
}

function Facts({ job }) {
  const { total, completed, failed } = job.request_counts;
  return html`<dl class="facts">
    <${Fact} name="Items">
      ${`${count(completed)} read, ${count(failed)} failed, of ${count(total)}${job.planning ? " so far" : ""}`}
    <//>
    <${Fact} name="Chunks">${`${count(job.chunks.done)} of ${count(job.chunks.total)}`}<//>
    <${Fact} name="Rate">${job.items_per_second ? `${count(job.items_per_second.toFixed(1))} items/s` : "–"}<//>
    <${Fact} name="Left">${duration(job.eta_seconds) || "–"}<//>
    <${Turn} job=${job} />
    <${Fact} name="Created"><${Ago} at=${job.created_at} /><//>
    <${Fact} name="Last update"><${Ago} at=${job.updated_at} /><//>
    <${Fact} name="Source">${job.source}<//>
    <${Fact} name="Workspace">${job.workspace}<//>
    ${job.tags.length > 0 && html`<${Fact} name="Tags">${job.tags.join(", ")}<//>`}
    ${Object.entries(job.metadata).map(([name, text]) => html`<${Fact} key=${name} name=${name}>${text}<//>`)}
  </dl>`;
}

const Fact = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

// Its place in the line and its deadline, if it has them.
function Turn({ job }) {
  const { line } = job;
  const ahead = line && (line.items_ahead ? `${count(line.items_ahead)} items go first` : `${Math.round(100 * line.share)}% of the workers`);
  return html`${line && html`<${Fact} name="In line">${`${line.place} of ${line.jobs}: ${ahead}`}<//>`}
  ${job.deadline &&
  html`<${Fact} name="Deadline">
    <${Ago} at=${job.deadline} />${job.projected_end && html`, ends <${Ago} at=${job.projected_end} />`}${job.at_risk && ", at risk"}
  <//>`}`;
}

function Errors({ job }) {
  if (!job.recent_errors.length) return null;
  return html`<section aria-labelledby="errors">
    <h3 id="errors">${`Newest errors (${count(job.request_counts.failed)} in all)`}</h3>
    <div class="errors">
      ${job.recent_errors.map(
        (error) => html`<details key=${error.id}>
          <summary><code>${error.code}</code> ${error.id}</summary>
          <p>${error.message}</p>
          <p class="uri">${error.uri}</p>
        </details>`,
      )}
    </div>
  </section>`;
}
