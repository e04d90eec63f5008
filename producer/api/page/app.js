// The web UI: health at the top; below it the list of jobs or one job, selected by the URL fragment.

import { call, forgetKey, get, hasKey, keepKey } from "./api.js";
import { count, duration, element, moment, progress, show } from "./dom.js";
import { jobView } from "./job.js";

const LIST_SECONDS = 2, HEALTH_SECONDS = 10, PAGE = 20, STALE_SECONDS = 120;

// As contract/job_status.py has it.
const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

const view = document.getElementById("view");
const notice = document.getElementById("notice");
const dialog = document.getElementById("key-dialog");
let current = new AbortController();

function tell(refusal) {
  if (refusal?.name === "AbortError") return;
  if (refusal?.status === 401) {
    askForKey(hasKey() ? "That key is not valid." : "");
    return;
  }
  notice.textContent = refusal?.message ?? "";
  notice.hidden = !notice.textContent;
}

function askForKey(problem) {
  forgetKey();
  document.getElementById("key-problem").textContent = problem;
  if (!dialog.open) dialog.showModal();
}

dialog.addEventListener("close", () => {
  const field = document.getElementById("key");
  if (!field.value) return;
  keepKey(field.value.trim());
  field.value = "";
  route();
});
document.getElementById("change-key").addEventListener("click", () => askForKey(""));

async function health() {
  const place = document.getElementById("health");
  try {
    const { checks } = await (await call("/health", { anyStatus: true })).json();
    show(
      place,
      Object.entries(checks).map(([name, check]) =>
        element("li", { class: check.ok ? "ok" : "bad", title: check.detail }, `${check.ok ? "✓" : "✗"} ${name}`),
      ),
    );
    const wrong = Object.values(checks).filter((check) => !check.ok).map((check) => check.detail);
    place.dataset.wrong = wrong.join("; ");
  } catch {
    show(place, element("li", { class: "bad" }, "✗ the API does not answer"));
  }
}

// The states of jobs, from the API's OpenAPI description.
async function states() {
  return (await get("/openapi.json")).components.schemas.State.enum;
}

async function listView(place, signal) {
  const state = { status: "", after: [] };
  const filter = element(
    "select",
    { id: "status" },
    element("option", { value: "" }, "all"),
  );
  states()
    .then((all) => filter.append(...all.map((state) => element("option", { value: state }, state.replace("_", " ")))))
    .catch(tell);
  const fields = conditions(() => turn(() => Object.assign(state, { after: [] })));
  const table = element("div", { class: "jobs" });
  const newer = element("button", { type: "button", onclick: () => turn(() => state.after.pop()) }, "Newer");
  const older = element("button", { type: "button", onclick: () => turn(() => state.after.push(state.last)) }, "Older");
  filter.addEventListener("change", () => turn(() => Object.assign(state, { status: filter.value, after: [] })));
  place.replaceChildren(
    element("p", { class: "bar" }, element("label", { for: "status" }, "Status "), filter,
      ...fields.flatMap(({ label, input }) => [element("label", { for: input.id }, ` ${label} `), input])),
    table,
    element("p", { class: "bar" }, newer, " ", older),
  );

  async function look() {
    const query = new URLSearchParams({ limit: PAGE });
    if (state.status) query.set("status", state.status);
    for (const { input, name, value } of fields) if (input.value.trim()) query.set(name, value(input.value.trim()));
    if (state.after.length) query.set("after", state.after[state.after.length - 1]);
    const page = await get(`/jobs?${query}`);
    if (signal.aborted) return;
    tell(null);
    state.last = page.last_id;
    newer.hidden = !state.after.length;
    older.hidden = !page.has_more;
    show(table, page.data.length ? page.data.map(card) : element("p", {}, "No jobs. Submit one with trace-ocr submit or POST /jobs."));
  }
  async function turn(change) {
    change();
    await look().catch(tell);
  }
  document.title = "Trace OCR batch";
  while (!signal.aborted) {
    if (!document.hidden) await look().catch(tell);
    await new Promise((resolve) => setTimeout(resolve, LIST_SECONDS * 1000));
  }
}

// Fields of what jobs must have, each with its name and value in the query. Days are of the reader's zone.
function conditions(changed) {
  const text = (value) => value;
  const start = (days) => (day) => {
    const [year, month, date] = day.split("-").map(Number);
    return new Date(year, month - 1, date + days).toISOString();
  };
  return [
    { label: "Tag", name: "tag", value: text, input: element("input", { id: "tag", type: "search", maxlength: 64, autocomplete: "off" }) },
    { label: "Tenant", name: "tenant", value: text, input: element("input", { id: "tenant", type: "search", maxlength: 64, autocomplete: "off" }) },
    { label: "From", name: "created_from", value: start(0), input: element("input", { id: "from", type: "date" }) },
    { label: "to", name: "created_before", value: start(1), input: element("input", { id: "to", type: "date" }) },
  ].map((one) => {
    one.input.addEventListener("change", changed);
    return one;
  });
}

function card(job) {
  const stale = job.status === "in_progress" && Date.now() / 1000 - job.updated_at > STALE_SECONDS;
  const { total, completed, failed } = job.request_counts;
  return element(
    "a",
    { class: `card ${job.status}${stale ? " stale" : ""}`, href: `#/jobs/${encodeURIComponent(job.id)}` },
    element("span", { class: "id" }, job.id, ...job.tags.map((tag) => element("small", { class: "tag" }, ` ${tag}`))),
    element("span", { class: `status ${job.status}` }, stale ? "stalled" : job.status.replace("_", " ")),
    progress(job),
    element("span", {}, `${count(completed + failed)} of ${count(total)}${job.planning ? "+" : ""}`),
    element("span", { class: failed ? "failed" : "" }, failed ? `${count(failed)} failed` : ""),
    element("span", {}, job.items_per_second ? `${job.items_per_second.toFixed(1)}/s, ${duration(job.eta_seconds)} left` : ""),
    element("span", { class: "when" }, moment(job.created_at)),
  );
}

// The id of the job that the URL names; null for the list, undefined if no job can have that id.
function namedJob() {
  const match = /^#\/jobs\/(.+)$/.exec(location.hash);
  if (!match) return null;
  try {
    const id = decodeURIComponent(match[1]);
    return JOB_ID.test(id) ? id : undefined;
  } catch {
    return undefined;
  }
}

function unknownView(place) {
  document.title = "Trace OCR batch";
  place.replaceChildren(element("p", {}, element("a", { href: "#/" }, "All jobs")));
  tell(new Error("This address names no job: it is damaged. Choose the job from the list."));
}

function route() {
  current.abort();
  current = new AbortController();
  tell(null);
  document.getElementById("change-key").hidden = !hasKey();
  const job = namedJob();
  if (job === undefined) {
    unknownView(view);
    return;
  }
  const shown = job === null ? listView(view, current.signal) : jobView(view, job, current.signal, tell);
  shown.catch(tell);
}

window.addEventListener("hashchange", route);
health();
setInterval(health, HEALTH_SECONDS * 1000);
route();
