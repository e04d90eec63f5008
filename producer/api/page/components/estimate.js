// What a job would read, and how long that would take, in words.

import { html } from "../preact/standalone.module.js";
import { Fact } from "./details.js";
import { count, counted, duration, rate } from "./time.js";

export function Preview({ estimate }) {
  if (!estimate) return html`<p role="status"></p>`;
  const { items, pages, files, bytes, complete, chunks, reused, passed_over: passed } = estimate;
  const what = pages === null ? "item" : "page";
  return html`<p role="status">Nothing was submitted.</p>
    <dl class="facts">
      <${Fact} name="Would read">${`${counted(items, what)}${complete ? "" : " or more"}, in ${counted(files, "file")} of ${size(bytes)}`}<//>
      <${Fact} name="Chunks">${count(chunks)}<//>
      <${Fact} name="Reused lines">${reused ? count(reused) : ""}<//>
      <${Fact} name="Passed over">${Object.entries(passed).map(([reason, number]) => `${count(number)} ${reason}`).join(", ")}<//>
      <${Fact} name="Time">${time(estimate)}<//>
      <${Fact} name="For the deadline">${deadline(estimate)}<//>
    </dl>`;
}

function size(bytes) {
  const units = ["bytes", "kB", "MB", "GB", "TB"];
  const power = bytes ? Math.min(units.length - 1, Math.floor(Math.log10(bytes) / 3)) : 0;
  return `${(bytes / 1000 ** power).toFixed(power ? 1 : 0)} ${units[power]}`;
}

function time({ duration_seconds: seconds, devices, items_per_second_per_device: pace, rate_source: source }) {
  if (seconds === null) return "unknown: no finished job like this one is near its output";
  return `${duration(seconds)} with ${counted(devices, "device")}, at ${rate(pace)} items/s each (${source})`;
}

function deadline({ deadline_seconds: left, devices_needed: needed }) {
  if (left === null) return "";
  return `${needed ? `${counted(needed, "device")} needed` : "unknown, or already missed"}, ${duration(Math.max(0, left))} left`;
}
