// Single results of a job beside their pictures, the least certain first: found, compared with labels, corrected.

import { html, useContext, useEffect, useRef, useState } from "./preact/standalone.module.js";
import { download, post } from "./api.js";
import { Confirm } from "./components/dialog.js";
import { Histogram } from "./components/histogram.js";
import { useMay } from "./components/me.js";
import { Pictures } from "./components/pictures.js";
import { ReviewFilter } from "./components/review_filter.js";
import { ReviewItem } from "./components/review_item.js";
import { placeOf, useItems } from "./components/review_items.js";
import { ReviewedPage } from "./components/reviewed_page.js";
import { App, useOnce } from "./live.js";
import { changeQuery, href } from "./router.js";

const STEPS = { j: 1, ArrowDown: 1, ArrowRight: 1, k: -1, ArrowUp: -1, ArrowLeft: -1 };

// Kinds whose texts can be corrected, by a key that may submit.
const CORRECTABLE = ["recognition", "ocr", "kie"];

export function ReviewView({ id, route }) {
  const path = `/jobs/${encodeURIComponent(id)}`;
  const { data: job } = useOnce(path);
  const { data: summary } = useOnce(`${path}/summary`);
  const maySubmit = useMay("submit");
  const found = useItems(path, route.query);
  useEffect(() => {
    document.title = `review · ${id}`;
  }, [id]);
  const ofPages = job?.kind === "ocr" || job?.kind === "kie" || job?.kind === "detection";
  const choice = { found, path, route, ofPages, may: maySubmit && CORRECTABLE.includes(job?.kind) };
  return html`<section aria-labelledby="review">
      <p><a href=${href(["jobs", id])}>${id}</a></p>
      <h2 id="review">Review</h2>
      <${Histogram} counts=${summary?.quality?.confidence_histogram ?? []} route=${route} />
      <${ReviewFilter} codes=${Object.keys(summary?.error_codes ?? {})} route=${route} />
      ${choice.may && html`<${Corrections} id=${id} path=${path} />`}
    </section>
    <${Pictures}><${Results} ...${choice} /><//>`;
}

function Corrections({ id, path }) {
  const { tell } = useContext(App);
  const [question, setQuestion] = useState(null);
  const apply = async () => {
    tell(null);
    await post(`${path}/corrections/apply`).then(() => (location.hash = href(["jobs", id])), tell);
  };
  const text = `Merge ${id} again, so that its results have the corrections? Until then they are not served.`;
  const ask = () => setQuestion({ text, yes: "Merge again", act: apply });
  const save = (format, name) => download(`${path}/corrections?format=${format}`, `${id}-${name}`).catch(tell);
  return html`<div class="actions">
    <button type="button" onClick=${ask}>Put corrections into the results</button>
    <button type="button" onClick=${() => save("doctr", "labels.json")}>Download for docTR</button>
    <button type="button" onClick=${() => save("label-studio", "tasks.json")}>Download for Label Studio</button>
    <${Confirm} question=${question} onClose=${() => setQuestion(null)} />
  </div>`;
}

function Results({ found, path, route, ofPages, may }) {
  const { items, cursor, searched, busy } = found;
  const at = useChoice(found, route);
  const chosen = items.find((one) => placeOf(one) === at.place);
  const saved = (item) => {
    found.replace(item);
    at.step(1);
  };
  return html`<section aria-label="Results" aria-busy=${busy}>
    <p class="bar"><${Progress} items=${items} searched=${searched} busy=${busy} cursor=${cursor} /></p>
    <ul class=${`review${ofPages ? " of-pages" : ""}`} ref=${at.list}>
      ${items.map(
        (item) => html`<${ReviewItem}
          key=${placeOf(item)}
          item=${item}
          path=${path}
          chosen=${item === chosen}
          editing=${may && !ofPages && item === chosen && route.query.edit === "1"}
          may=${may && !ofPages && !item.error}
          onChoose=${(edit) => at.choose(item, edit)}
          onSaved=${saved}
          onStale=${found.replace}
          opens=${ofPages && !item.error}
        />`,
      )}
    </ul>
    <p class="bar">
      ${route.query.cursor && html`<a href=${href(route.path, { ...route.query, cursor: null, at: null })}>First</a>`}
      ${cursor && !busy && html`<a class="next" href=${href(route.path, { ...route.query, cursor, at: null, edit: null })}>Next</a>`}
    </p>
    ${ofPages && chosen && !chosen.error && html`<${ReviewedPage} key=${at.place} item=${chosen} path=${path} may=${may} onSaved=${found.replace} />`}
  </section>`;
}

function Progress({ items, searched, busy, cursor }) {
  const share = searched === null ? "" : `, ${Math.floor(100 * searched)}% searched`;
  if (busy) return html`<span role="status">${`Looking${share}`}</span>`;
  if (!items.length) return html`<span role="status">${cursor ? `Nothing yet${share}` : "Nothing found."}</span>`;
  return html`<span class="quiet">j and k or arrows move, Enter corrects or opens, Escape leaves</span>`;
}

// The chosen item is in the address. Its place there moves with keys, and the focus with it.
function useChoice({ items }, route) {
  const list = useRef(null);
  const place = route.query.at ?? null;
  // Keys may come faster than the address changes.
  const now = useRef(place);
  useEffect(() => {
    now.current = place;
  }, [place]);
  const choose = (item, edit = false) => {
    now.current = placeOf(item);
    changeQuery(route, { at: placeOf(item), edit: edit ? "1" : null }, { replace: true });
  };
  const step = (by) => {
    const from = items.findIndex((one) => placeOf(one) === now.current);
    const to = from < 0 ? 0 : Math.min(Math.max(from + by, 0), items.length - 1);
    if (items.length) choose(items[to]);
  };
  useEffect(() => {
    const card = list.current?.querySelector("[aria-current=true]");
    if (card && !card.contains(document.activeElement)) card.focus({ preventScroll: true });
    card?.scrollIntoView({ block: "nearest" });
  }, [place, route.query.edit, items.length > 0]);
  useKeys(step, () => choose(items.find((one) => placeOf(one) === now.current) ?? items[0], true), items.length > 0);
  return { list, place, choose, step };
}

function useKeys(step, enter, active) {
  useEffect(() => {
    if (!active) return undefined;
    const pressed = (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (event.target.closest("input, select, textarea, button, a, summary, dialog")) return;
      if (event.key === "Enter") enter();
      else if (event.key in STEPS) step(STEPS[event.key]);
      else return;
      event.preventDefault();
    };
    document.addEventListener("keydown", pressed);
    return () => document.removeEventListener("keydown", pressed);
  });
}
