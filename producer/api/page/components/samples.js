// Some items of a job with their pictures and texts.

import { html, useContext, useEffect, useRef, useState } from "../preact/standalone.module.js";
import { get } from "../api.js";
import { App } from "../live.js";
import { Picture, Pictures, usePicture } from "./pictures.js";
import { PageWithRegions } from "./regions.js";

const SAMPLES = 12;

export function Samples({ path, version }) {
  const samples = useSamples(path, version);
  if (!samples.data.length) return null;
  return html`<section ref=${samples.place} aria-labelledby="samples">
    <h3 id="samples">Samples</h3>
    <${Pictures}>
      <ul class="samples">
        ${samples.data.map((one) => html`<${Sample} key=${one.id} sample=${one} />`)}
      </ul>
    <//>
  </section>`;
}

// Samples are chosen again whenever more is read, but not while somebody looks at a page.
function useSamples(path, version) {
  const app = useContext(App);
  const place = useRef(null);
  const [data, setData] = useState([]);
  useEffect(() => {
    if (place.current?.querySelector("details[open]")) return undefined;
    const stop = new AbortController();
    get(`${path}/samples?count=${SAMPLES}`, { signal: stop.signal })
      .then((found) => setData(found.data))
      .catch((problem) => stop.signal.aborted || problem.passes || app.tell(problem));
    return () => stop.abort();
  }, [path, version]);
  return { place, data };
}

function Sample({ sample }) {
  const { id, value, confidence, image, region } = sample;
  return html`<li>
    <${Picture} path=${image} region=${region} label=${id} />
    <span class="value">${value}</span>
    <span class="confidence">${confidence === null ? id : `${(100 * confidence).toFixed(0)}% · ${id}`}</span>
    ${region && html`<${OnItsPage} sample=${sample} />`}
  </li>`;
}

function OnItsPage({ sample }) {
  const [open, setOpen] = useState(false);
  return html`<details onToggle=${(event) => setOpen(event.currentTarget.open)}>
    <summary>on its page</summary>
    ${open && html`<${ItsPage} sample=${sample} />`}
  </details>`;
}

function ItsPage({ sample }) {
  const { url, problem } = usePicture(sample.image);
  const [found, setFound] = useState({ regions: null, problem: null });
  useEffect(() => {
    get(sample.regions).then(
      ({ data }) => setFound({ regions: data, problem: null }),
      (refusal) => setFound({ regions: null, problem: refusal }),
    );
  }, [sample.regions]);
  const refusal = problem ?? found.problem;
  if (refusal) return html`<p class="error">${refusal.message}</p>`;
  if (!url || !found.regions) return null;
  return html`<${PageWithRegions} url=${url} regions=${found.regions} chosen=${sample.id} />`;
}
