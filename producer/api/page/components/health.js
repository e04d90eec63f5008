// The checks of /health, shown before any key is given.

import { html, useEffect, useState } from "../preact/standalone.module.js";
import { call } from "../api.js";
import { wait } from "../live.js";

const SECONDS = 10;

export function Health() {
  const checks = useHealth();
  const wrong = Object.values(checks ?? {}).filter((check) => !check.ok).map((check) => check.detail);
  return html`<ul id="health" aria-label="Health of the system">
    ${checks === null
      ? html`<li class="bad">✗ the API does not answer</li>`
      : Object.entries(checks).map(
          ([name, { ok, detail }]) =>
            html`<li key=${name} class=${ok ? "ok" : "bad"} title=${detail}>${`${ok ? "✓" : "✗"} ${name}`}</li>`,
        )}
    ${wrong.length > 0 && html`<li class="why bad">${wrong.join("; ")}</li>`}
  </ul>`;
}

// The checks by name; null if the API does not answer.
function useHealth() {
  const [checks, setChecks] = useState({});
  useEffect(() => {
    const stop = new AbortController();
    (async () => {
      while (!stop.signal.aborted) {
        setChecks(await asked(stop.signal));
        await wait(SECONDS, stop.signal);
      }
    })();
    return () => stop.abort();
  }, []);
  return checks;
}

const asked = (signal) =>
  call("/health", { anyStatus: true, signal })
    .then((answer) => answer.json())
    .then(({ checks }) => checks)
    .catch(() => null);
