// Some items of a job with their pictures and texts.

import { html, useRef, useState } from "../preact/standalone.module.js";
import { useHeld, useOnce } from "../live.js";
import { Picture, Pictures, usePicture } from "./pictures.js";
import { PageWithRegions } from "./regions.js";

const SAMPLES = 12;

// Samples are chosen again whenever more is read, but not while somebody looks at a page.
export function Samples({ path, version }) {
  const place = useRef(null);
  const looks = place.current?.querySelector("details[open]");
  const { data: samples } = useOnce(`${path}/samples?count=${SAMPLES}`, useHeld(version, looks));
  if (!samples?.data.length) return null;
  return html`<section ref=${place} aria-labelledby="samples">
    <h3 id="samples">Samples</h3>
    <${Pictures}>
      <ul class="samples">
        ${samples.data.map((one) => html`<${Sample} key=${one.id} sample=${one} />`)}
      </ul>
    <//>
  </section>`;
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
  const { data: regions } = useOnce(sample.regions);
  if (problem) return html`<p class="error">${problem.message}</p>`;
  if (!url || !regions) return null;
  return html`<${PageWithRegions} url=${url} regions=${regions.data} chosen=${sample.id} />`;
}
