// How fast a job is: its rate, where the time goes, and its workers.

import { html } from "../preact/standalone.module.js";
import { RatePlot } from "./plot.js";
import { count, duration } from "./time.js";

export function Figures({ job }) {
  const hasRate = job.rate.length > 1, hasStages = Object.keys(job.stage_seconds).length > 0;
  const workers = ratesByWorker(job);
  if (!hasRate && !hasStages && !workers.size) return null;
  return html`<section class="figures">
    ${hasRate && html`<figure><figcaption>Items per second</figcaption><${RatePlot} marks=${job.rate} /></figure>`}
    ${hasStages && html`<${Stages} seconds=${job.stage_seconds} />`}
    ${workers.size > 0 && html`<${Workers} job=${job} rates=${workers} />`}
  </section>`;
}

function ratesByWorker(job) {
  const rates = new Map(job.workers.map((worker) => [worker.name, worker.items_per_second]));
  for (const run of job.running) if (!rates.has(run.worker)) rates.set(run.worker, null);
  return rates;
}

function Stages({ seconds }) {
  const stages = Object.entries(seconds);
  const sum = stages.reduce((total, [, one]) => total + one, 0) || 1;
  return html`<figure>
    <figcaption>Where the time goes, summed over threads</figcaption>
    <table class="stages">
      <tbody>
        ${stages.map(
          ([stage, one]) => html`<tr key=${stage}>
            <th scope="row">${stage}</th>
            <td><meter max="1" value=${one / sum} aria-label=${stage}></meter></td>
            <td class="number">${duration(one)}</td>
          </tr>`,
        )}
      </tbody>
    </table>
  </figure>`;
}

function Workers({ job, rates }) {
  const running = (name) =>
    job.running
      .filter((run) => run.worker === name)
      .map((run) => `chunk ${run.chunk} (${count(run.items)} read)`)
      .join(", ");
  return html`<figure>
    <figcaption>Workers</figcaption>
    <table>
      <thead><tr><th scope="col">worker</th><th scope="col">items/s</th><th scope="col">running</th></tr></thead>
      <tbody>
        ${[...rates].map(
          ([name, speed]) => html`<tr key=${name}>
            <td>${name}</td>
            <td class="number">${speed === null ? "–" : speed.toFixed(1)}</td>
            <td>${running(name) || "–"}</td>
          </tr>`,
        )}
      </tbody>
    </table>
  </figure>`;
}
