// Every worker and control process, from what they report.

import { html, useEffect } from "./preact/standalone.module.js";
import { Ago, count, rate } from "./components/time.js";
import { useOnce, usePolled } from "./live.js";
import { href } from "./router.js";

const SECONDS = 3, GIGABYTE = 2 ** 30;

const COLUMNS = ["Worker", "Device", "State", "Busy", "Device load", "Memory", "In hand", "Items/s", "Of the median", "Last movement"];

export function WorkersView() {
  const { data, at } = usePolled("/workers", SECONDS);
  const { data: system } = useOnce("/system");
  useEffect(() => {
    document.title = "Workers · Trace OCR batch";
  }, []);
  if (!data) return html`<h2>Workers</h2>`;
  const workers = data.data.filter((one) => one.role === "worker");
  return html`<h2>Workers</h2>
    <p>
      ${summary(data)}
      ${system?.flower_url && html` <a href=${system.flower_url} target="_blank" rel="noreferrer">Chunk by chunk in Flower</a>`}
    </p>
    ${workers.length > 0 && html`<${Table} workers=${workers} at=${at / 1000} />`}
    <${Others} processes=${data.data.filter((one) => one.role !== "worker")} />`;
}

function summary({ alive, expected }) {
  if (!alive) return "No worker is alive: start one with trace-ocr worker.";
  return `${count(alive)} alive${expected ? ` of ${count(expected)} expected` : ""}.`;
}

function Table({ workers, at }) {
  return html`<div class="wide" tabindex="0" role="region" aria-label="Workers">
    <table class="workers">
      <thead><tr>${COLUMNS.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
      <tbody>${workers.map((one) => html`<${Row} key=${one.name} worker=${one} at=${at} />`)}</tbody>
    </table>
  </div>`;
}

function Row({ worker, at }) {
  const { name, device, state, state_text: words, moved_seconds_ago: moved } = worker;
  return html`<tr class=${worker.slow || state === "stuck" ? "attention" : ""}>
    <th scope="row">${name}</th>
    <td>${device}</td>
    <td class=${state === "stuck" ? "bad" : ""}>${state === "reading" ? state : words}</td>
    <td class="number">${percent(worker.busy)}</td>
    <td class="number">${percent(worker.utilisation)}</td>
    <td class="number">${memory(worker)}</td>
    <td>${worker.in_hand.length ? worker.in_hand.map((run) => html`<${Run} key=${`${run.job} ${run.chunk}`} run=${run} />`) : "–"}</td>
    <td class="number">${worker.items_per_second === null ? "–" : rate(worker.items_per_second)}</td>
    <td class="number">${worker.ratio === null ? "–" : percent(worker.ratio)}${worker.slow && html` <strong class="bad">slow</strong>`}</td>
    <td>${moved === null ? "–" : html`<${Ago} at=${at - moved} />`}</td>
  </tr>`;
}

const percent = (share) => (share === null ? "–" : `${Math.round(100 * share)}%`);

function memory({ memory_used: used, memory_total: total }) {
  if (used === null) return "–";
  return `${(used / GIGABYTE).toFixed(1)}${total ? ` of ${(total / GIGABYTE).toFixed(0)}` : ""} GiB`;
}

function Run({ run }) {
  const where = `chunk ${run.chunk}, ${count(run.items)} read`;
  if (run.job === null) return html`<div>another key's job</div>`;
  return html`<div><a href=${href(["jobs", run.job])}>${run.job}</a> ${where}</div>`;
}

function Others({ processes }) {
  if (!processes.length) return html`<p class="bad">No control process is alive: start one with trace-ocr control.</p>`;
  return html`<h3>Control</h3>
    <ul class="plain">
      ${processes.map((one) => html`<li key=${one.name}>${one.name}, started <${Ago} at=${one.started_at} /></li>`)}
    </ul>`;
}
