// The list of jobs. What it shows is in the address.

import { html, useEffect } from "./preact/standalone.module.js";
import { Ago, count, duration, useNow } from "./components/time.js";
import { Progress } from "./components/progress.js";
import { useOnce, usePolled } from "./live.js";
import { changeQuery, href } from "./router.js";

const SECONDS = 2, PAGE = 20, STALE_SECONDS = 120;

export function JobsView({ route }) {
  const { data } = usePolled(`/jobs?${asked(route.query)}`, SECONDS);
  useEffect(() => {
    document.title = "Trace OCR batch";
  }, []);
  return html`<${Conditions} route=${route} />
    <div class="jobs">
      ${data?.data.map((job) => html`<${Card} key=${job.id} job=${job} />`)}
      ${data && !data.data.length && html`<p>No jobs. Submit one with trace-ocr submit or POST /jobs.</p>`}
    </div>
    <p class="bar">
      ${route.query.after && html`<button type="button" onClick=${() => history.back()}>Newer</button>`}
      ${data?.has_more &&
      html`<button type="button" onClick=${() => changeQuery(route, { after: data.last_id })}>Older</button>`}
    </p>`;
}

// Days are of the viewer's zone.
function asked({ from, to, ...query }) {
  const sent = new URLSearchParams({ limit: PAGE, ...query });
  if (from) sent.set("created_from", start(from, 0));
  if (to) sent.set("created_before", start(to, 1));
  return sent;
}

function start(day, days) {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date + days).toISOString();
}

function Conditions({ route }) {
  const { data } = useOnce("/openapi.json");
  const states = data?.components.schemas.State.enum ?? [];
  const change = (name) => (event) => changeQuery(route, { [name]: event.target.value.trim(), after: null });
  return html`<p class="bar">
    <label for="status">Status</label>
    <select id="status" value=${route.query.status ?? ""} onChange=${change("status")}>
      <option value="">all</option>
      ${states.map((state) => html`<option key=${state} value=${state}>${state.replace("_", " ")}</option>`)}
    </select>
    ${[["Tag", "tag"], ["Tenant", "tenant"]].map(
      ([label, name]) => html`<label for=${name}>${label}</label>
        <input id=${name} type="search" maxlength="64" autocomplete="off" value=${route.query[name] ?? ""} onChange=${change(name)} />`,
    )}
    ${[["From", "from"], ["to", "to"]].map(
      ([label, name]) => html`<label for=${name}>${label}</label>
        <input id=${name} type="date" value=${route.query[name] ?? ""} onChange=${change(name)} />`,
    )}
  </p>`;
}

function Card({ job }) {
  const stale = job.status === "in_progress" && useNow() / 1000 - job.updated_at > STALE_SECONDS;
  const { total, completed, failed } = job.request_counts;
  return html`<a class=${`card ${job.status}${stale ? " stale" : ""}`} href=${href(["jobs", job.id])}>
    <span class="id">${job.id}${job.tags.map((tag) => html`<small class="tag"> ${tag}</small>`)}</span>
    <span class=${`status ${job.status}`}>${stale ? "stalled" : job.status.replace("_", " ")}</span>
    <${Progress} job=${job} />
    <span>${`${count(completed + failed)} of ${count(total)}${job.planning ? "+" : ""}`}</span>
    <span class=${failed ? "failed" : ""}>${failed ? `${count(failed)} failed` : ""}</span>
    <span>${job.items_per_second ? `${job.items_per_second.toFixed(1)}/s, ${duration(job.eta_seconds)} left` : ""}</span>
    <span class="when"><${Ago} at=${job.created_at} /></span>
  </a>`;
}
