// The web UI: the system's health at the top, below it the view that the address names.

import { html, render, useEffect, useMemo, useReducer, useRef, useState } from "./preact/standalone.module.js";
import { forgetKey, hasKey, keepKey } from "./api.js";
import { Health } from "./components/health.js";
import { KeyDialog } from "./components/key.js";
import { Clock } from "./components/time.js";
import { App } from "./live.js";
import { useRoute } from "./router.js";
import { VIEWS } from "./views.js";

const LOST = "This address names no job and no other view: it is damaged. Choose the job from the list.";

// Data that is not renewed, by the path it comes from: why, and from when it is. No problem: it is renewed again.
function outdated(old, { path, problem, at }) {
  if (problem) return { ...old, [path]: { problem, at } };
  if (!(path in old)) return old;
  const { [path]: _, ...others } = old;
  return others;
}

// The key that this tab has, and why another one is asked for; `turn` counts the keys.
function useKey() {
  const [key, setKey] = useState({ asked: false, problem: "", turn: 0 });
  const worked = useRef(false);
  const refused = () => {
    const problem = worked.current ? "Your key is no longer valid: it was revoked or replaced." : "That key is not valid.";
    ask(hasKey() ? problem : "");
  };
  const ask = (problem) => {
    forgetKey();
    worked.current = false;
    setKey((old) => ({ ...old, asked: true, problem }));
  };
  const give = (given) => {
    keepKey(given);
    setKey((old) => ({ asked: false, problem: "", turn: old.turn + 1 }));
  };
  const close = () => setKey((old) => ({ ...old, asked: false }));
  return { ...key, worked, refused, ask, give, close };
}

function useApp(key) {
  const [notice, setNotice] = useState("");
  const [old, dispatch] = useReducer(outdated, {});
  const app = useMemo(() => {
    const tell = (refusal) => {
      if (refusal?.name === "AbortError") return;
      if (refusal?.status === 401) key.refused();
      else setNotice(refusal?.message ?? "");
    };
    const gone = (path) => dispatch({ path, problem: null });
    const renewed = (path) => {
      key.worked.current = hasKey();
      gone(path);
    };
    const failed = (path, problem, at) => {
      if (problem.passes) dispatch({ path, problem, at });
      else tell(problem);
    };
    return { tell, renewed, failed, gone };
  }, []);
  return { app, notice, old };
}

function Page() {
  const key = useKey();
  const { app, notice, old } = useApp(key);
  const route = useRoute(VIEWS);
  const main = useRef(null);
  const address = route.path.join("/");
  const first = useRef(true);
  useEffect(() => {
    app.tell(route.view ? null : new Error(LOST));
    if (!first.current) main.current.focus();
    first.current = false;
  }, [address, key.turn]);
  return html`<${App.Provider} value=${app}><${Clock}>
    <header>
      <h1><a href="#/">Trace OCR batch</a></h1>
      <${Health} />
      ${hasKey() && html`<button type="button" onClick=${() => key.ask("")}>Change key</button>`}
    </header>
    <p id="notice" role="status" hidden=${!notice}>${notice}</p>
    <${Away} old=${old} />
    <main ref=${main} tabindex="-1" class=${Object.keys(old).length ? "outdated" : ""}>
      <${View} key=${`${address} ${key.turn}`} route=${route} />
    </main>
    <${KeyDialog} asked=${key.asked} problem=${key.problem} onKey=${key.give} onClose=${key.close} />
  <//><//>`;
}

function View({ route }) {
  if (!route.view) {
    document.title = "Trace OCR batch";
    return html`<p><a href="#/">All jobs</a></p>`;
  }
  return html`<${route.view.component} ...${route.names} route=${route} />`;
}

// Says that the data below is old, and from when; the API may be away, or what it needs.
function Away({ old }) {
  const problems = Object.values(old);
  if (!problems.length) return html`<p id="away" role="status" hidden></p>`;
  const times = problems.map(({ at }) => at).filter(Boolean);
  const from = times.length ? `as of ${new Date(Math.min(...times)).toLocaleTimeString("en-GB")}, ` : "";
  return html`<p id="away" role="status">${`${problems[0].problem.message}: ${from}trying again`}</p>`;
}

render(html`<${Page} />`, document.getElementById("app"));
