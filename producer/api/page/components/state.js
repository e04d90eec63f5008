// A job's state in words, and when it ends.

import { html } from "../preact/standalone.module.js";
import { At, duration } from "./time.js";

export function StateText({ job }) {
  const said = job.state_text.includes(job.attention);
  return html`<span class=${`state ${job.status}${job.attention ? " attention" : ""}`}>
    ${job.attention && html`<span aria-hidden="true">⚠ </span>`}${job.state_text}${job.attention && !said && `, ${job.attention}`}
  </span>`;
}

export function Finish({ job }) {
  if (job.ends_at === null) return "–";
  return html`${!job.ended && "about "}<${At} at=${job.ends_at} />`;
}

export function Deadline({ job }) {
  if (job.deadline === null) return "–";
  return html`<${At} at=${job.deadline} />${job.margin_seconds !== null && html` <small class=${job.margin_seconds < 0 ? "bad" : ""}>${margin(job.margin_seconds)}</small>`}`;
}

const margin = (seconds) => (seconds < 0 ? `${duration(-seconds)} late` : `${duration(seconds)} to spare`);
