// What can be done with a job now, by somebody with this key; and the files to fetch.

import { html, useContext, useEffect, useRef, useState } from "../preact/standalone.module.js";
import { download, post } from "../api.js";
import { App } from "../live.js";
import { href } from "../router.js";
import { Confirm } from "./dialog.js";
import { useMay } from "./me.js";
import { counted } from "./time.js";

// What is asked before an action whose effect cannot be taken back.
const QUESTIONS = {
  cancel: ({ id }) => ({ text: `Cancel ${id}? Running chunks end; what was read so far stays.`, yes: "Cancel the job" }),
  "retry-errors": ({ request_counts: { failed } }) => ({
    text: `Read ${counted(failed, "failed item")} again? The merged results and errors are replaced.`,
    yes: "Read again",
  }),
};

export function Actions({ job, path, refresh }) {
  const { tell } = useContext(App);
  const may = useMay("submit");
  const [question, setQuestion] = useState(null);
  const bar = useKeptFocus(job.actions.join());
  const act = async (action) => {
    tell(null);
    bar.acted();
    await post(`${path}/${action}`).then(refresh, tell);
  };
  const choose = (action) => {
    const asked = QUESTIONS[action]?.(job);
    if (asked) setQuestion({ ...asked, act: () => act(action) });
    else act(action);
  };
  return html`<div ref=${bar.place} class="actions" onFocusOut=${bar.moved}>
    ${may &&
    job.actions.map(
      (action) => html`<button key=${action} type="button" data-action=${action} onClick=${() => choose(action)}>
        ${action.replace("-", " ")}
      </button>`,
    )}
    ${job.status === "completed" && html`<a class="button" href=${href(["jobs", job.id, "review"])}>Review texts</a>`}
    <${Files} job=${job} path=${path} />
    <${Confirm} question=${question} onClose=${() => setQuestion(null)} />
  </div>`;
}

// After an action, its button goes, and so may the next ones: the focus is on the first that is there, until it is moved.
function useKeptFocus(actions) {
  const place = useRef(null);
  const wanted = useRef(false);
  useEffect(() => {
    if (wanted.current && document.activeElement === document.body) place.current.querySelector("button")?.focus();
  }, [actions]);
  const moved = ({ relatedTarget: to }) => {
    if (to && !place.current.contains(to)) wanted.current = false;
  };
  return { place, moved, acted: () => (wanted.current = true) };
}

function Files({ job, path }) {
  const { tell } = useContext(App);
  if (job.status !== "completed") return null;
  const save = (file) => download(`${path}/${file}`, `${job.id}-${file}.${file === "report" ? "html" : "jsonl"}`).catch(tell);
  const files = ["results", "errors", ...(job.kind === "compare" ? ["report"] : [])];
  return files.map(
    (file) => html`<button key=${file} type="button" onClick=${() => save(file)}>${`Download ${file}`}</button>`,
  );
}
