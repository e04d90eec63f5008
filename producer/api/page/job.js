// One job: first what it does, in a sentence; then its progress, chunks, pace, failures, details and samples.

import { html, useEffect } from "./preact/standalone.module.js";
import { Actions } from "./components/actions.js";
import { Details, Fact } from "./components/details.js";
import { Failures } from "./components/failures.js";
import { Figures } from "./components/figures.js";
import { Progress } from "./components/progress.js";
import { Samples } from "./components/samples.js";
import { Deadline, Finish } from "./components/state.js";
import { ChunkStrip } from "./components/strip.js";
import { Ago, count, counted, rate } from "./components/time.js";
import { useEvents, useOnce } from "./live.js";
import { href } from "./router.js";

const ZONE = Intl.DateTimeFormat().resolvedOptions().timeZone;

export function JobView({ id, route }) {
  const path = `/jobs/${encodeURIComponent(id)}`;
  const { data: job, refresh } = useEvents(`${path}/events?timezone=${encodeURIComponent(ZONE)}`);
  const { data: details } = useOnce(job && `${path}/details`, job?.status);
  useEffect(() => {
    document.title = job ? `${job.status.replace("_", " ")} · ${id}` : id;
  }, [job?.status]);
  if (!job) return null;
  return html`<${Head} job=${job} path=${path} details=${details} refresh=${refresh} />
    <${Figures} job=${job} />
    <${Failures} job=${job} path=${path} route=${route} />
    <${Details} job=${job} details=${details} />
    <${Samples} path=${path} version=${job.chunks.done} />`;
}

function Head({ job, path, details, refresh }) {
  return html`<section aria-labelledby="job">
    <p><a href="#/">All jobs</a></p>
    <h2 id="job" class="id">${job.id} <span class=${`status ${job.status}`}>${job.status.replace("_", " ")}</span></h2>
    <p class=${`headline${job.attention ? " bad" : ""}`}>${job.headline}</p>
    ${job.error && !job.headline.includes(job.error) && html`<p class="error">${job.error}</p>`}
    <${Progress} job=${job} />
    <${Facts} job=${job} />
    <${ChunkStrip} path=${path} job=${job} />
    <${Actions} job=${job} path=${path} refresh=${refresh} />
    <${Elsewhere} job=${job} details=${details} />
  </section>`;
}

function Facts({ job }) {
  const { total, completed, failed } = job.request_counts;
  return html`<dl class="facts">
    <${Fact} name="Items">
      ${`${count(completed)} read, ${count(failed)} failed, of ${count(total)}${job.planning ? " so far" : ""}`}
    <//>
    <${Fact} name="Chunks">${`${count(job.chunks.done)} of ${count(job.chunks.total)}`}<//>
    <${Fact} name="Rate">${job.items_per_second ? `${rate(job.items_per_second)} items/s` : ""}<//>
    <${Fact} name=${job.ended ? "Ended" : "Finish"}><${Finish} job=${job} /><//>
    ${job.deadline !== null && html`<${Fact} name="Deadline"><${Deadline} job=${job} />${job.at_risk && ", at risk"}<//>`}
    <${Fact} name="In line">${inLine(job.line)}<//>
    <${Fact} name="Created"><${Ago} at=${job.created_at} /><//>
    <${Fact} name="Last update"><${Ago} at=${job.updated_at} /><//>
  </dl>`;
}

function inLine(line) {
  if (!line) return "";
  const ahead = line.items_ahead ? `${counted(line.items_ahead, "item goes", "items go")} first` : `${Math.round(100 * line.share)}% of the workers`;
  return `${line.place} of ${line.jobs}: ${ahead}`;
}

// Where more of a job is shown.
function Elsewhere({ job, details }) {
  const merged = job.status === "completed";
  return html`<nav class="bar" aria-label="More of this job">
    ${merged && job.kind === "compare" && html`<a href=${href(["jobs", job.id, "report"])}>Report of the comparison</a>`}
    ${merged && details?.template && html`<a href=${href(["jobs", job.id, "forms"])}>Table of the forms</a>`}
    ${details?.flower && html`<a href=${details.flower} target="_blank" rel="noreferrer">Its chunks in Flower</a>`}
  </nav>`;
}
