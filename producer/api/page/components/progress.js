// A job's progress as a bar.

import { html } from "../preact/standalone.module.js";
import { count } from "./time.js";

export function Progress({ job }) {
  const { total, completed, failed } = job.request_counts;
  const read = completed + failed + job.running.reduce((sum, run) => sum + run.items, 0);
  const share = total ? Math.min(1, read / total) : 0;
  const label = `${count(read)} of ${count(total)}${job.planning ? "+" : ""} items`;
  return html`<div class="progress">
    <progress max=${total || 1} value=${Math.min(read, total || 1)} aria-label=${label}></progress>
    <span>${Math.floor(share * 100)}%</span>
  </div>`;
}
