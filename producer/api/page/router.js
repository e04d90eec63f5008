// The view and its state are in the address: its fragment is a path and a query, as #/jobs/night-1?code=decode_error.

import { useEffect, useState } from "./preact/standalone.module.js";

// As contract/job_status.py has it.
const JOB_ID = /^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/;

export function href(path, query = {}) {
  const kept = Object.entries(query).filter(([, value]) => value !== "" && value !== null && value !== undefined);
  const text = new URLSearchParams(kept).toString();
  return `#/${path.map(encodeURIComponent).join("/")}${text ? `?${text}` : ""}`;
}

function parts(path) {
  try {
    return path.split("/").filter(Boolean).map(decodeURIComponent);
  } catch {
    return null;
  }
}

// The values of a pattern's names, such as {id} of ["jobs", ":id"]; null if the path is another one.
function match(pattern, path) {
  if (pattern.length !== path.length) return null;
  const names = {};
  for (const [index, expected] of pattern.entries()) {
    if (expected.startsWith(":")) names[expected.slice(1)] = path[index];
    else if (expected !== path[index]) return null;
  }
  return "id" in names && !JOB_ID.test(names.id) ? null : names;
}

// What the address shows: one of the views, the names in its path, and its query; a null view if there is none.
export function find(views, hash) {
  const [before, text = ""] = hash.replace(/^#/, "").split("?", 2);
  const query = Object.fromEntries(new URLSearchParams(text));
  const path = parts(before);
  for (const view of path ? views : []) {
    const names = match(view.path, path);
    if (names) return { view, names, query, path };
  }
  return { view: null, names: {}, query, path: [] };
}

export function useRoute(views) {
  const [hash, setHash] = useState(location.hash);
  useEffect(() => {
    const follow = () => setHash(location.hash);
    window.addEventListener("hashchange", follow);
    return () => window.removeEventListener("hashchange", follow);
  }, []);
  return find(views, hash);
}

// Changes the query of the view that is shown; with `replace`, the Back button does not return to the one before.
export function changeQuery(route, changes, { replace = false } = {}) {
  const address = href(route.path, { ...route.query, ...changes });
  if (replace) location.replace(address);
  else location.hash = address;
}
