// The chunks of a job as one strip, in their order: done, running, failed, waiting. Pointing at one names its worker.

import { html, useEffect, useState } from "../preact/standalone.module.js";
import { get } from "../api.js";
import { useOnce } from "../live.js";
import { count, counted, duration } from "./time.js";

const HEIGHT = 20, REST_MILLISECONDS = 150;

// How the states of cells are called, in the order of the legend.
const WORDS = { done: "done", part: "partly done", running: "running", failed: "failed", waiting: "waiting" };

export function ChunkStrip({ path, job }) {
  const running = job.running.map((run) => run.chunk).join();
  const { data } = useOnce(`${path}/chunks`, `${job.chunks.done} ${job.chunks.total} ${running}`);
  if (!data?.total) return null;
  return html`<figure class="chunk-strip">
    <figcaption>Chunks</figcaption>
    <${Strip} path=${path} chunks=${data} />
    <${Legend} runs=${data.runs} cell=${data.cell} />
  </figure>`;
}

// The runs with the number of their first cell.
function placed(runs) {
  let first = 0;
  return runs.map(([state, cells, worker]) => {
    const run = { state, cells, worker, first };
    first += cells;
    return run;
  });
}

function Strip({ path, chunks }) {
  const [at, setAt] = useState(null);
  const runs = placed(chunks.runs);
  const cells = runs.reduce((sum, run) => sum + run.cells, 0);
  const shown = Math.min(at ?? 0, cells - 1);
  const run = runs.find(({ first, cells: length }) => shown < first + length);
  const reader = useReader(at !== null && chunks.cell === 1 && run.state === "done" ? `${path}/chunks/${shown}` : null);
  const said = describe(run, shown, chunks, reader);
  const point = ({ currentTarget, clientX }) => {
    const { left, width } = currentTarget.getBoundingClientRect();
    setAt(Math.min(cells - 1, Math.max(0, Math.floor(((clientX - left) / width) * cells))));
  };
  const step = (event) => {
    const next = { ArrowLeft: shown - 1, ArrowRight: shown + 1, Home: 0, End: cells - 1 }[event.key];
    if (next === undefined) return;
    event.preventDefault();
    setAt(Math.min(cells - 1, Math.max(0, next)));
  };
  return html`<svg
      class="strip" viewBox=${`0 0 ${cells} ${HEIGHT}`} preserveAspectRatio="none" onMouseMove=${point} onKeyDown=${step}
      tabindex="0" role="slider" aria-label="Chunk" aria-valuemin="0" aria-valuemax=${cells - 1} aria-valuenow=${shown} aria-valuetext=${said}
    >
      ${runs.map(
        ({ state, cells: width, first }) => html`<rect key=${first} class=${state} x=${first} width=${width} ...${bar(state)} />`,
      )}
      <rect class="cursor" x=${shown} width="1" y="0" height=${HEIGHT} />
    </svg>
    <p class="pointed">${said}</p>`;
}

// States differ in height as well, for those who do not see their colours.
function bar(state) {
  const height = { waiting: HEIGHT / 5, running: HEIGHT / 2, part: HEIGHT / 2 }[state] ?? HEIGHT;
  return { y: HEIGHT - height, height };
}

// Who has read the chunk at a path, once the pointer rests on it; null while that is unknown.
function useReader(path) {
  const [reader, setReader] = useState(null);
  useEffect(() => {
    setReader(null);
    if (path === null) return undefined;
    const stop = new AbortController();
    const ask = () => get(path, { signal: stop.signal }).then((found) => stop.signal.aborted || setReader(found), () => {});
    const timer = setTimeout(ask, REST_MILLISECONDS);
    return () => {
      clearTimeout(timer);
      stop.abort();
    };
  }, [path]);
  return reader;
}

function describe({ state, worker }, at, { cell, total }, reader) {
  const last = Math.min(total, (at + 1) * cell) - 1;
  const name = cell === 1 ? `chunk ${at}` : `chunks ${at * cell} to ${last}`;
  const by = reader
    ? ` by ${reader.worker} in ${duration(reader.wall_seconds)}, ${counted(reader.completed, "item")} read, ${count(reader.failed)} failed`
    : worker ? ` by ${worker}` : "";
  return `${name}: ${WORDS[state]}${by}`;
}

function Legend({ runs, cell }) {
  const cells = {};
  for (const [state, length] of runs) cells[state] = (cells[state] ?? 0) + length;
  const states = Object.keys(WORDS).filter((state) => cells[state]);
  return html`<ul class="legend">
    ${states.map(
      (state) => html`<li key=${state}>
        <svg viewBox="0 0 10 10" aria-hidden="true"><rect class=${state} width="10" height="10" /></svg>
        ${cell === 1 ? `${count(cells[state])} ${WORDS[state]}` : WORDS[state]}
      </li>`,
    )}
    ${cell > 1 && html`<li>${`one column is ${counted(cell, "chunk")}`}</li>`}
  </ul>`;
}
