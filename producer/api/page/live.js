// Data that stays up to date: polled, or followed as a stream of events. While the API is away the last data stays.

import { createContext, useCallback, useContext, useEffect, useRef, useState } from "./preact/standalone.module.js";
import { events, get } from "./api.js";

const FIRST_WAIT = 1, LONGEST_WAIT = 5;

// What every view gets from the app: `tell(refusal)` shows what went wrong; null takes that back. `renewed(path)`
// says that data has arrived, `failed(path, problem, at)` that none has since `at`, `gone(path)` that none is shown.
export const App = createContext(null);

export const wait = (seconds, signal) =>
  new Promise((resolve) => {
    const timer = setTimeout(resolve, seconds * 1000);
    signal?.addEventListener("abort", () => (clearTimeout(timer), resolve()), { once: true });
  });

// Runs `look(signal, show)` for a path until the component goes, or the path or the version changes; `look` returns the
// seconds until the next time, or null to end. Its refusals are reported, and tried again if they can pass.
export function useData(path, look, version = 0) {
  const app = useContext(App);
  const [state, setState] = useState({ path: null, data: null, at: null, problem: null });
  const again = useRef(() => {});
  useEffect(() => {
    if (path === null) return undefined;
    const stop = new AbortController();
    let at = null;
    const show = (data) => {
      at = Date.now();
      setState({ path, data, at, problem: null });
      app.renewed(path);
    };
    const fail = (problem) => {
      setState((old) => ({ ...old, problem }));
      app.failed(path, problem, at);
      return problem.passes;
    };
    again.current = keepLooking(look, show, fail, stop.signal);
    return () => {
      stop.abort();
      app.gone(path);
    };
  }, [path, version]);
  return { ...state, isOld: state.path !== path, refresh: useCallback(() => again.current(), []) };
}

// Returns a function that ends the present wait.
function keepLooking(look, show, fail, signal) {
  let sleep = null;
  signal.addEventListener("abort", () => sleep?.abort(), { once: true });
  const run = async () => {
    let delay = FIRST_WAIT;
    while (!signal.aborted) {
      let seconds;
      try {
        seconds = await look(signal, (data) => (signal.aborted ? undefined : show(data)));
        delay = FIRST_WAIT;
      } catch (problem) {
        if (signal.aborted || !fail(problem)) return;
        seconds = delay;
        delay = Math.min(2 * delay, LONGEST_WAIT);
      }
      if (signal.aborted || seconds === null) return;
      sleep = new AbortController();
      const wake = () => document.hidden || sleep.abort();
      document.addEventListener("visibilitychange", wake);
      await wait(document.hidden ? Math.max(seconds, 60) : seconds, sleep.signal);
      document.removeEventListener("visibilitychange", wake);
    }
  };
  run();
  return () => sleep?.abort();
}

// {data, at, problem, isOld, refresh}: `isOld` while the data is still that of another path.
export function usePolled(path, seconds) {
  return useData(path, async (signal, show) => {
    show(await get(path, { signal }));
    return seconds;
  });
}

const ENDED_SECONDS = 30;

// The same for a job's events: a stream ends with the job, which somebody may open again.
export function useEvents(path) {
  return useData(path, async (signal, show) => {
    let last = null;
    for await (const status of events(path, signal)) show((last = status));
    return last?.ended ? ENDED_SECONDS : FIRST_WAIT;
  });
}

// The same, asked once, and again when `version` changes.
export function useOnce(path, version = 0) {
  return useData(
    path,
    async (signal, show) => {
      show(await get(path, { signal }));
      return null;
    },
    version,
  );
}

// The newest `version` of before `isHeld`: what somebody looks at is not renewed under their eyes.
export function useHeld(version, isHeld) {
  const held = useRef(version);
  if (!isHeld) held.current = version;
  return held.current;
}
