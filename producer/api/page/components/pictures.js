// Pictures that need the viewer's key: fetched once each, and shown from memory.

import { createContext, html, useContext, useEffect, useMemo, useState } from "../preact/standalone.module.js";
import { call } from "../api.js";
import { CutOut } from "./regions.js";

const Album = createContext(null);

// Keeps the pictures that are shown below it, each under its path, until it goes.
export function Pictures({ children }) {
  const album = useMemo(() => new Map(), []);
  useEffect(() => () => album.forEach((url) => url.then(URL.revokeObjectURL, () => {})), []);
  return html`<${Album.Provider} value=${album}>${children}<//>`;
}

const fetched = async (path) => URL.createObjectURL(await (await call(path)).blob());

// {url, problem} of the picture at a path of the API; both null while it is loading.
export function usePicture(path) {
  const album = useContext(Album);
  const [state, setState] = useState({ url: null, problem: null });
  useEffect(() => {
    let wanted = path !== null;
    if (!wanted) return undefined;
    if (!album.has(path)) album.set(path, fetched(path));
    album.get(path).then(
      (url) => wanted && setState({ url, problem: null }),
      (problem) => {
        album.delete(path);
        if (wanted) setState({ url: null, problem });
      },
    );
    return () => (wanted = false);
  }, [path]);
  return state;
}

// The picture of an item: all of it, or its region cut out.
export function Picture({ path, region, label }) {
  const { url, problem } = usePicture(path);
  if (problem) return html`<span class="no-image">no preview</span>`;
  if (!url) return html`<span class="loading"></span>`;
  return region ? html`<${CutOut} url=${url} region=${region} label=${label} />` : html`<img src=${url} alt=${label} />`;
}
