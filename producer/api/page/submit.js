// A form for a new job, with a preview of what it would read, and the same as a command line.

import { html, useContext, useEffect, useMemo, useState } from "./preact/standalone.module.js";
import { post } from "./api.js";
import { Commands } from "./components/commands.js";
import { Preview } from "./components/estimate.js";
import { FormField, KindChoice, Parameter } from "./components/form.js";
import { requestOf } from "./components/request.js";
import { App, useOnce } from "./live.js";
import { href } from "./router.js";

// Of a job of any kind, in the order of the form; the rest is for the command line.
const COMMON = ["job_id", "include", "limit", "sample", "regions", "results", "exports", "tags", "priority", "deadline", "timezone"];

export function SubmitView({ route }) {
  const form = useForm(route.query);
  const kinds = useOnce("/kinds").data?.data;
  const common = useCommon();
  const models = useOnce("/models").data?.data ?? [];
  useEffect(() => {
    document.title = "New job · Trace OCR batch";
  }, []);
  if (!kinds || !common) return html`<h2>New job</h2>`;
  const kind = kinds.find(({ name }) => name === form.values.kind) ?? kinds[0];
  const request = requestOf({ ...form.values, kind: kind.name }, [...kind.parameters, ...common]);
  return html`<h2>New job</h2>
    <${Form} form=${form} kinds=${kinds} kind=${kind} common=${common} models=${models} request=${request} />`;
}

function useForm(given) {
  const [values, setValues] = useState(given);
  const set = (name) => (value) => setValues((old) => ({ ...old, [name]: value }));
  return { values, set };
}

// The fields that all kinds share, from the API's OpenAPI description; null until it is there.
function useCommon() {
  const { data } = useOnce("/openapi.json");
  return useMemo(() => {
    const described = data?.components.schemas.JobRequest.properties;
    return described ? COMMON.map((name) => fieldOf(name, described[name])) : null;
  }, [data]);
}

function fieldOf(name, { description, anyOf, ...schema }) {
  const { type, items, minimum, maximum, enum: choices } = anyOf?.[0] ?? schema;
  return { name, help: description ?? "", type, choices: items?.enum ?? choices ?? null, minimum, maximum, default: null };
}

function Form({ form, kinds, kind, common, models, request }) {
  const sending = useSending(request);
  const fields = (described) =>
    described.map(
      (one) => html`<${Parameter} key=${one.name} parameter=${one} models=${models} value=${form.values[one.name] ?? ""} onInput=${form.set(one.name)} />`,
    );
  return html`<form class="submit" onSubmit=${sending.preview}>
    <section aria-label="Source and output">
      <${FormField} name="source" label="Source" required rows=${2} value=${form.values.source ?? ""} onInput=${form.set("source")}
        help="folder, prefix, manifest or shards, as an absolute path or URI; several go on a line each" />
      <${FormField} name="output" label="Output" required value=${form.values.output ?? ""} onInput=${form.set("output")}
        help="the job's workspace: a new folder or remote prefix" />
      <${KindChoice} kinds=${kinds} kind=${kind} onChange=${form.set("kind")} />
    </section>
    <section><details open><summary>${`Parameters of ${kind.name}`}</summary><div class="fields">${fields(kind.parameters)}</div></details></section>
    <section><details><summary>The job</summary><div class="fields">${fields(common)}</div></details></section>
    <section aria-label="Preview and submit">
      <p class="bar">
        <button type="submit" disabled=${sending.busy}>Preview</button>
        <button type="button" class="main" disabled=${sending.busy} onClick=${sending.submit}>Submit</button>
      </p>
      <p class="error" role="alert">${sending.problem}</p>
      <${Preview} estimate=${sending.estimate} />
      <${Commands} request=${request} />
    </section>
  </form>`;
}

// {busy, problem, estimate, preview, submit}; an estimate is of the request that it was asked for.
function useSending(request) {
  const { tell } = useContext(App);
  const [state, setState] = useState({ busy: false, problem: "", estimate: null, asked: "" });
  const send = async (query, event, then) => {
    const form = event.target.closest("form");
    event.preventDefault();
    if (!form.reportValidity()) return;
    setState((old) => ({ ...old, busy: true, problem: "" }));
    try {
      then(await post(`/jobs${query}`, request));
    } catch (refusal) {
      setState((old) => ({ ...old, busy: false, problem: refusal.message, estimate: null }));
      if (refusal.status === 401) tell(refusal);
    }
  };
  const preview = (event) =>
    send("?dry_run=true", event, (estimate) => setState({ busy: false, problem: "", estimate, asked: JSON.stringify(request) }));
  const submit = (event) => send("", event, ({ id }) => (location.hash = href(["jobs", id])));
  const estimate = state.asked === JSON.stringify(request) ? state.estimate : null;
  return { ...state, estimate, preview, submit };
}
