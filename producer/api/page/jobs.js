// The jobs as a table. What it shows is in the address.

import { html, useEffect } from "./preact/standalone.module.js";
import { Filters } from "./components/filters.js";
import { useMay } from "./components/me.js";
import { Progress } from "./components/progress.js";
import { Deadline, Finish, StateText } from "./components/state.js";
import { Ago, count } from "./components/time.js";
import { usePolled } from "./live.js";
import { href } from "./router.js";

const SECONDS = 2, PAGE = 25;

const COLUMNS = ["Job", "State", "Progress", "Failed", "Finish", "Deadline", "Kind", "Tenant", "Created"];

export function JobsView({ route }) {
  const { data, isOld } = usePolled(`/jobs?${asked(route.query)}`, SECONDS);
  const attention = data?.counts.attention;
  useEffect(() => {
    document.title = `${attention ? `(${attention}) ` : ""}Jobs · Trace OCR batch`;
  }, [attention]);
  return html`<h2 class="unseen">Jobs</h2>
    <${Filters} route=${route} counts=${data?.counts} />
    <${Table} jobs=${data?.data} busy=${isOld} filtered=${Object.keys(route.query).length > 0} more=${data?.has_more} />
    <${Pages} route=${route} page=${data} />`;
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

function Table({ jobs, busy, filtered, more }) {
  if (!jobs) return null;
  if (!jobs.length) return html`<${Nothing} filtered=${filtered} more=${more} />`;
  return html`<table class="jobs" aria-busy=${busy}>
    <thead>
      <tr>${COLUMNS.map((name) => html`<th key=${name} scope="col" class=${`column-${name.toLowerCase()}`}>${name}</th>`)}</tr>
    </thead>
    <tbody>${jobs.map((job) => html`<${Row} key=${job.id} job=${job} />`)}</tbody>
  </table>`;
}

// One listing looks at so many jobs only: there may be some among older ones.
function Nothing({ filtered, more }) {
  const may = useMay("submit");
  if (more) return html`<p>No jobs match so far: look among older jobs.</p>`;
  if (filtered) return html`<p>No jobs match. <a href="#/">Show all</a></p>`;
  return html`<p>No jobs. ${may ? html`<a href=${href(["submit"])}>Submit one</a>` : "Submit one"} with trace-ocr submit or POST /jobs.</p>`;
}

function Row({ job }) {
  const { total, completed, failed } = job.request_counts;
  return html`<tr class=${job.attention ? "attention" : ""}>
    <th scope="row">
      <a href=${href(["jobs", job.id])} title=${job.id}>${job.id}</a>
      ${job.tags.map((tag) => html`<small key=${tag} class="tag">${tag}</small>`)}
    </th>
    <td><${StateText} job=${job} /></td>
    <td>
      <${Progress} job=${job} /><small>${`${count(completed + failed)} of ${count(total)}${job.planning ? "+" : ""}`}</small>
    </td>
    <td class="column-failed number">${failed ? html`<span class="bad">${count(failed)}</span>` : "0"}</td>
    <td class="column-finish"><${Finish} job=${job} /></td>
    <td class="column-deadline"><${Deadline} job=${job} /></td>
    <td class="column-kind">${job.kind}</td>
    <td class="column-tenant">${job.tenant}</td>
    <td class="column-created"><${Ago} at=${job.created_at} /></td>
  </tr>`;
}

// The pages next to this one; one that was reached with `before` has older jobs behind it.
function Pages({ route, page }) {
  const { after, before, ...first } = route.query;
  if (!page) return null;
  const newest = page.data[0]?.id, oldest = before ? page.data.at(-1)?.id : page.last_id;
  const newer = before ? page.has_more : after;
  const older = (before || page.has_more) && oldest;
  const link = (words, query) => html`<a href=${href(route.path, { ...first, ...query })}>${words}</a>`;
  return html`<nav class="bar" aria-label="Pages of jobs">
    ${newer && link("Newest jobs", {})} ${newer && newest && link("Newer jobs", { before: newest })}
    ${older && link("Older jobs", { after: oldest })}
  </nav>`;
}
