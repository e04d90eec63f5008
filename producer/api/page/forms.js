// The table of a template's job: a row for each page, a column for each region.

import { html, useEffect } from "./preact/standalone.module.js";
import { call } from "./api.js";
import { count } from "./components/time.js";
import { useData } from "./live.js";
import { href } from "./router.js";

const PAGE = 50;

export function FormsView({ id, route }) {
  const offset = Number(route.query.offset ?? 0) || 0;
  const path = `/jobs/${encodeURIComponent(id)}/forms?offset=${offset}&limit=${PAGE + 1}`;
  const { data } = useData(path, async (signal, show) => {
    const text = await (await call(path, { signal })).text();
    show(text.split("\n").filter(Boolean).map(JSON.parse));
    return null;
  });
  useEffect(() => {
    document.title = `Forms · ${id}`;
  }, [id]);
  const to = (at) => href(route.path, { offset: at || null });
  return html`<p><a href=${href(["jobs", id])}>${id}</a></p>
    <h2>Table of the forms</h2>
    ${data && html`<${Table} pages=${data.slice(0, PAGE)} />`}
    <nav class="bar" aria-label="Pages of the table">
      ${offset > 0 && html`<a href=${to(Math.max(0, offset - PAGE))}>Earlier pages</a>`}
      ${data?.length > PAGE && html`<a href=${to(offset + PAGE)}>Later pages</a>`}
      <span>${data && `from page ${count(offset + 1)}`}</span>
    </nav>`;
}

function Table({ pages }) {
  const names = [...new Set(pages.flatMap(({ values = {}, errors = {} }) => [...Object.keys(values), ...Object.keys(errors)]))];
  return html`<div class="wide" tabindex="0" role="region" aria-label="Forms">
    <table>
      <thead><tr><th scope="col">Page</th>${names.map((name) => html`<th key=${name} scope="col">${name}</th>`)}</tr></thead>
      <tbody>
        ${pages.map(
          (page) => html`<tr key=${page.id}>
            <th scope="row">${page.id}</th>
            ${names.map((name) => html`<${Cell} key=${name} page=${page} name=${name} />`)}
          </tr>`,
        )}
      </tbody>
    </table>
  </div>`;
}

function Cell({ page, name }) {
  const confidence = page.confidences?.[name];
  if (page.errors?.[name]) return html`<td class="bad">${page.errors[name]}</td>`;
  return html`<td title=${confidence === undefined ? "" : `${(100 * confidence).toFixed(0)}%`}>${page.values?.[name] ?? ""}</td>`;
}
