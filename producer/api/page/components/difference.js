// Where two texts differ, character by character.

import { html } from "../preact/standalone.module.js";

const LONGEST = 400;

// Runs of {kind, text}: "same", "gone" (only in the first text), "new" (only in the second).
export function runs(before, after) {
  const [a, b] = [[...before], [...after]];
  if (a.length > LONGEST || b.length > LONGEST) return [{ kind: "gone", text: before }, { kind: "new", text: after }];
  const common = lengths(a, b);
  const found = [];
  const add = (kind, text) => {
    const last = found[found.length - 1];
    if (last?.kind === kind) last.text += text;
    else found.push({ kind, text });
  };
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      add("same", a[i]);
      [i, j] = [i + 1, j + 1];
    } else if (j === b.length || (i < a.length && common[i + 1][j] >= common[i][j + 1])) add("gone", a[i++]);
    else add("new", b[j++]);
  }
  return found;
}

// The lengths of the longest common subsequences of what is left from each pair of places.
function lengths(a, b) {
  const table = Array.from({ length: a.length + 1 }, () => new Uint16Array(b.length + 1));
  for (let i = a.length - 1; i >= 0; i -= 1)
    for (let j = b.length - 1; j >= 0; j -= 1)
      table[i][j] = a[i] === b[j] ? table[i + 1][j + 1] + 1 : Math.max(table[i + 1][j], table[i][j + 1]);
  return table;
}

const TAGS = { gone: "del", new: "ins" };

export function Difference({ before, after, name }) {
  if (before === after) return html`<span class="difference same">${`${name}: the same`}</span>`;
  return html`<span class="difference">${`${name}: `}${runs(before, after).map(({ kind, text }, place) =>
    kind === "same" ? text : html`<${TAGS[kind]} key=${place}>${text}<//>`,
  )}</span>`;
}
