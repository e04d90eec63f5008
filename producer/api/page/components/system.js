// The system at a glance, on every view: what waits, who works, how fast, and what is worst.

import { html, useEffect, useRef, useState } from "../preact/standalone.module.js";
import { usePolled } from "../live.js";
import { href } from "../router.js";
import { count, counted, duration, rate } from "./time.js";

const SECONDS = 2;

export function SystemStrip() {
  const { data: system } = usePolled("/system", SECONDS);
  if (!system) return html`<section class="system" aria-label="System"></section>`;
  return html`<section class="system" aria-label="System">
    <dl>
      <${Figure} name="Waiting">${waiting(system)}<//>
      <${Figure} name="Uploads">${system.uploads_waiting === null ? "–" : count(system.uploads_waiting)}<//>
      <${Figure} name="Workers"><a href=${href(["workers"])}>${workers(system)}</a><//>
      <${Figure} name="Reading">${system.items_per_second === null ? "–" : `${rate(system.items_per_second)} items/s`}<//>
    </dl>
    <${Alert} alert=${system.alert} others=${Math.max(0, system.alerts.length - 1)} />
  </section>`;
}

const Figure = ({ name, children }) => html`<div><dt>${name}</dt><dd>${children}</dd></div>`;

function waiting({ waiting: sent, in_line: unsent, oldest_seconds: oldest }) {
  if (sent === null) return "–";
  const chunks = sent + (unsent ?? 0);
  if (!chunks) return "nothing";
  return `${counted(chunks, "chunk")}${oldest ? `, the oldest for ${duration(oldest)}` : ""}`;
}

function workers({ workers_alive: alive, workers_expected: expected, workers_slow: slow }) {
  if (alive === null) return "–";
  return `${count(alive)}${expected ? ` of ${count(expected)}` : ""}${slow ? `, ${count(slow)} slow` : ""}`;
}

function Alert({ alert, others }) {
  const more = others ? ` (and ${count(others)} more)` : "";
  return html`<${Announced} of=${alert?.name ?? ""} text=${alert?.text ?? ""} />
    ${alert &&
    html`<p class=${`alert ${alert.severity}`}>
      <span aria-hidden="true">⚠ </span>
      ${alert.job ? html`<a href=${href(["jobs", alert.job])}>${alert.text}</a>` : alert.text}${more}
    </p>`}`;
}

// Tells screen readers of an alert once, not each time that a number in it changes.
function Announced({ of, text }) {
  const [said, setSaid] = useState("");
  const last = useRef("");
  useEffect(() => {
    if (of !== last.current) setSaid(text);
    last.current = of;
  }, [of]);
  return html`<p role="status" class="unseen">${said}</p>`;
}
