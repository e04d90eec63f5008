// The report of a comparison: which model is right how often, from which confidence on, and at what cost.

import { html, useContext, useEffect } from "./preact/standalone.module.js";
import { download } from "./api.js";
import { count, counted } from "./components/time.js";
import { App, useOnce } from "./live.js";
import { href } from "./router.js";

export function ReportView({ id }) {
  const path = `/jobs/${encodeURIComponent(id)}/report`;
  const { data: report } = useOnce(`${path}?format=json`);
  const { tell } = useContext(App);
  useEffect(() => {
    document.title = `Report · ${id}`;
  }, [id]);
  const save = () => download(path, `${id}-report.html`).catch(tell);
  return html`<p><a href=${href(["jobs", id])}>${id}</a></p>
    <h2>Report of the comparison</h2>
    ${report && html`<${Report} report=${report} />`}
    <p class="bar"><button type="button" onClick=${save}>Download the whole report</button> with examples, curves and confusions</p>`;
}

function Report({ report }) {
  const { crops, notes } = report;
  return html`<p>
      ${`${counted(crops.read, "crop")} read by all models, ${count(crops.with_truth)} of them with a truth; ${counted(crops.disagreements, "disagreement")}, ${count(crops.failed)} failed.`}
    </p>
    ${notes.map((note) => html`<p key=${note}>${note}</p>`)}
    <div class="wide" tabindex="0" role="region" aria-label="Models"><${Models} report=${report} /></div>
    <div class="wide" tabindex="0" role="region" aria-label="Pairs of models"><${Pairs} pairs=${report.pairs} /></div>`;
}

const percent = (share) => (share === null || share === undefined ? "–" : `${(100 * share).toFixed(2)}%`);

const MEASURES = [
  ["Exact", ({ accuracy }) => percent(accuracy?.exact.share)],
  ["95% interval", ({ accuracy }) => (accuracy ? interval(accuracy.exact.interval) : "–")],
  ["Caseless", ({ accuracy }) => percent(accuracy?.caseless)],
  ["Characters wrong", ({ accuracy }) => percent(accuracy?.cer)],
  ["Words wrong", ({ accuracy }) => percent(accuracy?.wer)],
  ["Mean confidence", (model) => percent(model.mean_confidence)],
  ["Crops/s per process", ({ speed }) => (speed ? `${count(Math.round(speed.crops_per_second))}${speed.estimated ? " (estimated)" : ""}` : "–")],
];

const interval = (bounds) => (Array.isArray(bounds) ? bounds : Object.values(bounds)).map(percent).join(" to ");

function Models({ report }) {
  return html`<table>
    <thead><tr><th scope="col">Model</th>${MEASURES.map(([name]) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
    <tbody>
      ${report.models.map(
        (model) => html`<tr key=${model.name}>
          <th scope="row">${model.name}</th>
          ${MEASURES.map(([name, shown]) => html`<td key=${name} class="number">${shown(model)}</td>`)}
        </tr>`,
      )}
    </tbody>
  </table>`;
}

function Pairs({ pairs }) {
  return html`<table>
    <thead>
      <tr>${["First", "Second", "Read alike", "Only first right", "Only second right", "p"].map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr>
    </thead>
    <tbody>
      ${pairs.map(
        (pair) => html`<tr key=${`${pair.first} ${pair.second}`}>
          <th scope="row">${pair.first}</th>
          <td>${pair.second}</td>
          <td class="number">${percent(pair.agreement)}</td>
          <td class="number">${pair.only_first_right ?? "–"}</td>
          <td class="number">${pair.only_second_right ?? "–"}</td>
          <td class="number">${pair.p_value?.toPrecision(2) ?? "–"}</td>
        </tr>`,
      )}
    </tbody>
  </table>`;
}
