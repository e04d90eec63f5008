// The items that the address asks for, page by page: each page is asked for until it is full or nothing is left.

import { useContext, useEffect, useState } from "../preact/standalone.module.js";
import { get } from "../api.js";
import { App } from "../live.js";

const PAGE = 48;
const CONDITIONS = ["at_least", "below", "q", "id", "code", "order"];
const NOTHING = { items: [], cursor: null, searched: null, busy: true };

// An item's place in its job, which is also its key.
export const placeOf = ({ chunk, index }) => `${chunk}-${index}`;

function asked(path, query, cursor, limit) {
  const given = CONDITIONS.filter((name) => query[name]).map((name) => [name, query[name]]);
  return `${path}/items?${new URLSearchParams([...given, ["limit", limit], ...(cursor ? [["cursor", cursor]] : [])])}`;
}

// A search looks at a bounded part of the lines at once, so that one answer may be short.
async function collect(path, query, signal, show) {
  let cursor = query.cursor ?? null, items = [];
  do {
    const page = await get(asked(path, query, cursor, PAGE - items.length), { signal });
    items = [...items, ...page.data];
    cursor = page.cursor;
    show({ items, cursor, searched: page.searched, busy: items.length < PAGE && cursor !== null });
  } while (items.length < PAGE && cursor !== null);
}

// {items, cursor, searched, busy, replace}: `replace(item)` puts an item in the place of its older state.
export function useItems(path, query) {
  const app = useContext(App);
  const [state, setState] = useState(NOTHING);
  useEffect(() => {
    const stop = new AbortController();
    setState(NOTHING);
    app.tell(null);
    collect(path, query, stop.signal, (found) => stop.signal.aborted || setState(found)).catch((problem) => {
      if (stop.signal.aborted) return;
      setState((old) => ({ ...old, busy: false }));
      app.tell(problem);
    });
    return () => stop.abort();
  }, [asked(path, query, query.cursor, PAGE)]);
  const replace = (item) =>
    setState((old) => ({ ...old, items: old.items.map((one) => (placeOf(one) === placeOf(item) ? item : one)) }));
  return { ...state, replace };
}
