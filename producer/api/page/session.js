// The viewer's key, and what the app tells every view.

import { useMemo, useReducer, useRef, useState } from "./preact/standalone.module.js";
import { forgetKey, hasKey, keepKey } from "./api.js";

const WRONG = "That key is not valid.";
const REVOKED = "Your key is no longer valid: it was revoked or replaced.";

// {asked, problem, turn, ...}: whether a key is asked for, and why; `turn` counts the keys.
export function useKey() {
  const [key, setKey] = useState({ asked: false, problem: "", turn: 0 });
  const worked = useRef(false);
  const ask = (problem) => {
    forgetKey();
    worked.current = false;
    setKey((old) => ({ ...old, asked: true, problem }));
  };
  // Of several calls that are refused at once, the first one still has the key.
  const refused = () => (hasKey() ? ask(worked.current ? REVOKED : WRONG) : setKey((old) => ({ ...old, asked: true })));
  const accepted = () => (worked.current = hasKey());
  const give = (given) => {
    keepKey(given);
    setKey((old) => ({ asked: false, problem: "", turn: old.turn + 1 }));
  };
  const close = () => setKey((old) => ({ ...old, asked: false }));
  return { ...key, ask, refused, accepted, give, close };
}

// Data that is not renewed, by the path it comes from: why, and from when it is. No problem: it is renewed again.
function outdated(old, { path, problem, at }) {
  if (problem) return { ...old, [path]: { problem, at } };
  if (!(path in old)) return old;
  const { [path]: _, ...others } = old;
  return others;
}

// What `live.App` holds, with the notice and the outdated data that it leads to.
export function useApp(key) {
  const [notice, setNotice] = useState("");
  const [old, dispatch] = useReducer(outdated, {});
  const app = useMemo(() => {
    const tell = (refusal) => {
      if (refusal?.name === "AbortError") return;
      if (refusal?.status === 401) key.refused();
      else setNotice(refusal?.message ?? "");
    };
    const gone = (path) => dispatch({ path, problem: null });
    const renewed = (path) => {
      key.accepted();
      gone(path);
    };
    const failed = (path, problem, at) => {
      if (problem.passes) dispatch({ path, problem, at });
      else tell(problem);
    };
    return { tell, renewed, failed, gone };
  }, []);
  return { app, notice, old };
}
