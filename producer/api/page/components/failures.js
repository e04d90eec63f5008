// The failed items of a job: how many of each code, which filters the list below.

import { html, useContext, useState } from "../preact/standalone.module.js";
import { get } from "../api.js";
import { App, useData, useHeld } from "../live.js";
import { changeQuery } from "../router.js";
import { count, counted } from "./time.js";

const PAGE = 25;

export function Failures({ job, path, route }) {
  const { failed } = job.request_counts;
  const codes = Object.entries(job.error_codes).sort(([, one], [, other]) => other - one);
  const code = route.query.code ?? "";
  if (!failed) return null;
  return html`<section aria-labelledby="failures">
    <h3 id="failures">${counted(failed, "failed item")}</h3>
    <${Bars} codes=${codes} chosen=${code} route=${route} />
    <${List} key=${code} path=${path} code=${code} version=${failed} />
  </section>`;
}

function Bars({ codes, chosen, route }) {
  const most = Math.max(...codes.map(([, number]) => number), 1);
  const choose = (code) => changeQuery(route, { code: code === chosen ? "" : code }, { replace: true });
  return html`<ul class="codes" aria-label="Error codes: choose one to see only its items">
    ${codes.map(
      ([code, number]) => html`<li key=${code}>
        <button type="button" aria-pressed=${String(code === chosen)} onClick=${() => choose(code)}>
          <span class="code">${code}</span>
          <svg viewBox="0 0 100 1" preserveAspectRatio="none" aria-hidden="true"><rect width=${(100 * number) / most} height="1" /></svg>
          <span class="number">${count(number)}</span>
        </button>
      </li>`,
    )}
  </ul>`;
}

function List({ path, code, version }) {
  const { items, next, more } = usePages(path, code, version);
  return html`<div class="errors">
      ${items.map(
        ({ id, uri, code: its, message }) => html`<details key=${id}>
          <summary><code>${its}</code> ${id}</summary>
          <p>${message}</p>
          <p class="uri">${uri}</p>
        </details>`,
      )}
    </div>
    ${next !== null && html`<p class="bar"><button type="button" onClick=${more}>More</button></p>`}`;
}

// {items, next, more}: the first page is renewed when more has failed, unless further ones are shown. A list that cannot
// be continued, since the job's lines were merged meanwhile, begins again.
function usePages(path, code, version) {
  const { tell } = useContext(App);
  const [further, setFurther] = useState(null);
  const look = async (signal, show) => {
    show(await page(path, code, null, signal));
    return null;
  };
  const { data } = useData(`${path}/failures?code=${code}`, look, useHeld(version, further));
  const first = data ?? { items: [], next: null };
  const { items, next } = further ?? first;
  const more = () =>
    page(path, code, next)
      .then((found) => setFurther({ items: [...items, ...found.items], next: found.next }))
      .catch((problem) => (problem.status === 400 ? setFurther(null) : tell(problem)));
  return { items, next, more };
}

// A page may be short or empty although there are more: it is asked on until something is found.
async function page(path, code, after, signal) {
  const items = [];
  let next = after;
  do {
    const query = new URLSearchParams({ limit: PAGE, ...(code && { code }), ...(next !== null && { after: next }) });
    const answer = await get(`${path}/failures?${query}`, { signal });
    items.push(...answer.data);
    next = answer.has_more ? answer.next : null;
  } while (next !== null && items.length < PAGE);
  return { items, next };
}
