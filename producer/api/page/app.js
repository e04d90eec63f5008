// The web UI: the system at the top, below it the view that the address names.

import { html, render, useContext, useEffect, useRef } from "./preact/standalone.module.js";
import { hasKey } from "./api.js";
import { Health } from "./components/health.js";
import { KeyDialog } from "./components/key.js";
import { Me, useMay } from "./components/me.js";
import { SystemStrip } from "./components/system.js";
import { Clock } from "./components/time.js";
import { App, useOnce } from "./live.js";
import { href, useRoute } from "./router.js";
import { useApp, useKey } from "./session.js";
import { VIEWS } from "./views.js";

const LOST = "This address names no job and no other view: it is damaged. Choose the job from the list.";

function Page() {
  const key = useKey();
  const { app, notice, old } = useApp(key);
  return html`<${App.Provider} value=${app}><${Clock}>
    <${Shell} keys=${key} notice=${notice} old=${old} />
    <${KeyDialog} asked=${key.asked} problem=${key.problem} onKey=${key.give} onClose=${key.close} />
  <//><//>`;
}

function Shell({ keys, notice, old }) {
  const route = useRoute(VIEWS);
  const { data: me } = useOnce("/me", keys.turn);
  const main = useFocusOnChange(route, keys.turn);
  return html`<${Me.Provider} value=${me}>
    <header>
      <${Skip} to=${main} />
      <h1><a href="#/">Trace OCR batch</a></h1>
      <${Links} path=${route.path} />
      <${Health} />
      ${hasKey() && html`<button type="button" onClick=${() => keys.ask("")}>Change key</button>`}
    </header>
    ${me && html`<${SystemStrip} key=${keys.turn} />`}
    <p id="notice" role="status" hidden=${!notice}>${notice}</p>
    <${Away} old=${old} />
    <main ref=${main} tabindex="-1" class=${Object.keys(old).length ? "outdated" : ""}>
      <${View} key=${`${route.path.join("/")} ${keys.turn}`} route=${route} />
    </main>
  <//>`;
}

function Skip({ to }) {
  const skip = (event) => {
    event.preventDefault();
    to.current.focus();
  };
  return html`<a class="skip" href=${location.hash} onClick=${skip}>Skip to the content</a>`;
}

// Another view gets the focus, so that it is read from its beginning; a view whose query changes keeps it.
function useFocusOnChange(route, turn) {
  const { tell } = useContext(App);
  const main = useRef(null);
  const first = useRef(true);
  useEffect(() => {
    tell(route.view ? null : new Error(LOST));
    if (!first.current) main.current.focus();
    first.current = false;
  }, [route.path.join("/"), turn]);
  return main;
}

function Links({ path }) {
  const may = useMay("submit");
  const link = (words, ...to) =>
    html`<a href=${href(to)} aria-current=${to.join() === path.join() ? "page" : null}>${words}</a>`;
  return html`<nav aria-label="Views">${link("Jobs")} ${link("Workers", "workers")} ${may && link("New job", "submit")}</nav>`;
}

function View({ route }) {
  if (route.view) return html`<${route.view.component} ...${route.names} route=${route} />`;
  document.title = "Trace OCR batch";
  return html`<p><a href="#/">All jobs</a></p>`;
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
