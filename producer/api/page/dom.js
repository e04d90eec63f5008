// Builds elements. Texts are untrusted (ids, OCR results), so they are always text nodes.

export function element(tag, properties = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else made.setAttribute(name, value === true ? "" : String(value));
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export function drawing(tag, properties = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(properties)) made.setAttribute(name, String(value));
  made.append(...children);
  return made;
}

// Replaces an element's content only if it has changed, to keep focus and selection.
export function show(place, ...children) {
  const fresh = element("div", {}, ...children);
  if (place.innerHTML !== fresh.innerHTML) place.replaceChildren(...fresh.childNodes);
}

export const count = (number) => Number(number).toLocaleString("en");

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

export function moment(unixSeconds) {
  const at = new Date(unixSeconds * 1000);
  const ago = duration(Math.max(0, (Date.now() - at) / 1000));
  return element("time", { datetime: at.toISOString(), title: at.toLocaleString() }, `${ago} ago`);
}

export function progress(job) {
  const { total, completed, failed } = job.request_counts;
  const read = completed + failed + job.running.reduce((sum, run) => sum + run.items, 0);
  const share = total ? Math.min(1, read / total) : 0;
  const label = `${count(read)} of ${count(total)}${job.planning ? "+" : ""} items`;
  const bar = element("progress", { max: total || 1, value: Math.min(read, total || 1), "aria-label": label });
  return element("div", { class: "progress" }, bar, element("span", {}, `${Math.floor(share * 100)}%`));
}
