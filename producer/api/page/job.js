// One job: progress, rate, stages, workers, errors, and items with their text.

import { call, download, events, get, post } from "./api.js";
import { count, duration, element, moment, progress, show } from "./dom.js";
import { ratePlot } from "./plot.js";
import { cutOut, pageWithRegions } from "./regions.js";

const SAMPLES = 12, FIRST_WAIT = 1000, LONGEST_WAIT = 15000;

export async function jobView(place, id, signal, tell) {
  const path = `/jobs/${encodeURIComponent(id)}`;
  const parts = Object.fromEntries(["top", "figures", "errors", "samples"].map((name) => [name, element("section")]));
  place.replaceChildren(...Object.values(parts));
  const look = { chunk: null, images: new Map() };

  function render(job) {
    document.title = `${job.status} · ${job.id}`;
    show(parts.top, ...head(job));
    for (const button of parts.top.querySelectorAll("button[data-action]")) {
      button.onclick = () => act(button.dataset.action);
    }
    for (const button of parts.top.querySelectorAll("button[data-file]")) {
      button.onclick = () => download(`${path}/${button.dataset.file}`, `${id}-${button.dataset.file}.${button.dataset.file === "report" ? "html" : "jsonl"}`).catch(tell);
    }
    show(parts.figures, ...figures(job));
    if (!parts.errors.querySelector("details[open]")) show(parts.errors, ...errors(job));
    if (job.chunks.done !== look.chunk && !parts.samples.querySelector("details[open]")) {
      look.chunk = job.chunks.done;
      samples(parts.samples, path, look.images, signal).catch(tell);
    }
  }

  async function act(action) {
    if (action === "cancel" && !confirm(`Cancel ${id}? Its results so far stay.`)) return;
    try {
      render(await post(`${path}/${action}`));
      follow();
    } catch (refusal) {
      tell(refusal);
    }
  }

  let following = false;
  async function follow() {
    if (following) return;
    following = true;
    let wait = FIRST_WAIT;
    while (!signal.aborted) {
      try {
        let last = null;
        for await (const job of events(`${path}/events`, signal)) {
          render((last = job));
          wait = FIRST_WAIT;
        }
        if (last?.ended) break;
      } catch (refusal) {
        if (signal.aborted) break;
        tell(refusal);
        if (refusal.status && refusal.status < 500) break;
      }
      await new Promise((resolve) => setTimeout(resolve, wait));
      wait = Math.min(2 * wait, LONGEST_WAIT);
    }
    following = false;
  }

  render(await get(path));
  follow();
}

function head(job) {
  const { total, completed, failed } = job.request_counts;
  const actions = job.actions.map((action) =>
    element("button", { type: "button", "data-action": action }, action.replace("-", " ")),
  );
  const files = job.status === "completed" ? ["results", "errors", ...(job.kind === "compare" ? ["report"] : [])] : [];
  return [
    element("p", {}, element("a", { href: "#/" }, "All jobs")),
    element("h2", { class: "id" }, job.id, " ", element("span", { class: `status ${job.status}` }, job.status.replace("_", " "))),
    progress(job),
    element(
      "dl",
      { class: "facts" },
      fact("Items", `${count(completed)} read, ${count(failed)} failed, of ${count(total)}${job.planning ? " so far" : ""}`),
      fact("Chunks", `${count(job.chunks.done)} of ${count(job.chunks.total)}`),
      fact("Rate", job.items_per_second ? `${count(job.items_per_second.toFixed(1))} items/s` : "–"),
      fact("Left", duration(job.eta_seconds) || "–"),
      ...turn(job),
      fact("Created", moment(job.created_at)),
      fact("Last update", moment(job.updated_at)),
      fact("Source", job.source),
      fact("Workspace", job.workspace),
      job.tags.length ? fact("Tags", job.tags.join(", ")) : null,
      Object.entries(job.metadata).flatMap(([name, text]) => fact(name, text)),
    ),
    job.error ? element("p", { class: "error", role: "alert" }, job.error) : null,
    element(
      "p",
      { class: "actions" },
      actions,
      files.map((file) => element("button", { type: "button", "data-file": file }, `Download ${file}`)),
    ),
  ];
}

// Its place in the line and its deadline, if it has them.
function turn(job) {
  const { line } = job;
  const ahead = line && (line.items_ahead ? `${count(line.items_ahead)} items go first` : `${Math.round(100 * line.share)}% of the workers`);
  const ends = job.projected_end ? `, ends ${moment(job.projected_end)}` : "";
  return [
    line ? fact("In line", `${line.place} of ${line.jobs}: ${ahead}`) : null,
    job.deadline ? fact("Deadline", `${moment(job.deadline)}${ends}${job.at_risk ? ", at risk" : ""}`) : null,
  ].filter(Boolean);
}

const fact = (name, value) => element("div", {}, element("dt", {}, name), element("dd", {}, value));

function figures(job) {
  const plot = ratePlot(job.rate);
  const stages = Object.entries(job.stage_seconds);
  const sum = stages.reduce((total, [, seconds]) => total + seconds, 0) || 1;
  const rates = new Map(job.workers.map((worker) => [worker.name, worker.items_per_second]));
  for (const run of job.running) if (!rates.has(run.worker)) rates.set(run.worker, null);
  return [
    plot ? element("figure", {}, element("figcaption", {}, "Items per second"), plot) : null,
    stages.length
      ? element(
          "figure",
          {},
          element("figcaption", {}, "Where the time goes, summed over threads"),
          element(
            "table",
            { class: "stages" },
            stages.map(([stage, seconds]) =>
              element(
                "tr",
                {},
                element("th", { scope: "row" }, stage),
                element("td", {}, element("meter", { max: 1, value: seconds / sum, "aria-label": stage })),
                element("td", { class: "number" }, duration(seconds)),
              ),
            ),
          ),
        )
      : null,
    rates.size
      ? element(
          "figure",
          {},
          element("figcaption", {}, "Workers"),
          element(
            "table",
            {},
            element("tr", {}, ["worker", "items/s", "running"].map((name) => element("th", { scope: "col" }, name))),
            [...rates].map(([name, speed]) =>
              element(
                "tr",
                {},
                element("td", {}, name),
                element("td", { class: "number" }, speed === null ? "–" : speed.toFixed(1)),
                element(
                  "td",
                  {},
                  job.running
                    .filter((run) => run.worker === name)
                    .map((run) => `chunk ${run.chunk} (${count(run.items)} read)`)
                    .join(", ") || "–",
                ),
              ),
            ),
          ),
        )
      : null,
  ];
}

function errors(job) {
  if (!job.recent_errors.length) return [];
  return [
    element("h3", {}, `Newest errors (${count(job.request_counts.failed)} in all)`),
    element(
      "div",
      { class: "errors" },
      job.recent_errors.map((error) =>
        element(
          "details",
          {},
          element("summary", {}, element("code", {}, error.code), " ", error.id),
          element("p", {}, error.message),
          element("p", { class: "uri" }, error.uri),
        ),
      ),
    ),
  ];
}

async function samples(place, path, images, signal) {
  const { data } = await get(`${path}/samples?count=${SAMPLES}`);
  if (!data.length || signal.aborted) return;
  const pictures = await Promise.all(data.map((sample) => picture(sample, images, signal)));
  if (signal.aborted) return;
  place.replaceChildren(
    element("h3", {}, "Samples"),
    element(
      "ul",
      { class: "samples" },
      data.map((sample, index) =>
        element(
          "li",
          {},
          pictures[index] ?? element("span", { class: "no-image" }, "no preview"),
          element("span", { class: "value" }, sample.value),
          element("span", { class: "confidence" }, sample.confidence === null ? sample.id : `${(100 * sample.confidence).toFixed(0)}% · ${sample.id}`),
          sample.region && pictures[index] ? onItsPage(sample, images) : null,
        ),
      ),
    ),
  );
}

async function picture(sample, images, signal) {
  try {
    // Regions of one page have one picture, which is fetched once.
    if (!images.has(sample.image)) {
      images.set(sample.image, call(sample.image, { signal }).then(async (answer) => URL.createObjectURL(await answer.blob())));
    }
    const url = await images.get(sample.image);
    return sample.region ? await cutOut(url, sample.region, sample.id) : element("img", { src: url, alt: sample.id });
  } catch {
    images.delete(sample.image);
    return null;
  }
}

function onItsPage(sample, images) {
  const place = element("details", {}, element("summary", {}, "on its page"));
  place.addEventListener("toggle", async () => {
    if (!place.open || place.children.length > 1) return;
    try {
      place.append(await pageWithRegions(await images.get(sample.image), (await get(sample.regions)).data, sample.id));
    } catch (refusal) {
      place.append(element("p", { class: "error" }, refusal.message));
    }
  });
  return place;
}
