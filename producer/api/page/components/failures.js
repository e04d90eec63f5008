// The failed items of a job: how many of each code, which filters the list below.

import { html } from "../preact/standalone.module.js";
import { changeQuery } from "../router.js";
import { count } from "./time.js";

export function Failures({ job, route }) {
  const { failed } = job.request_counts;
  const codes = Object.entries(job.error_codes).sort(([, one], [, other]) => other - one);
  const code = route.query.code ?? "";
  if (!failed) return null;
  return html`<section aria-labelledby="failures">
    <h3 id="failures">${`${count(failed)} failed items`}</h3>
    <${Bars} codes=${codes} chosen=${code} route=${route} />
    <${List} errors=${job.recent_errors} code=${code} />
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

// The newest of them; `Download errors` has all, once the job is complete.
function List({ errors, code }) {
  return html`<div class="errors">
    ${errors
      .filter((one) => !code || one.code === code)
      .map(
        (one) => html`<details key=${one.id}>
          <summary><code>${one.code}</code> ${one.id}</summary>
          <p>${one.message}</p>
          <p class="uri">${one.uri}</p>
        </details>`,
      )}
  </div>`;
}
