// Given regions of pages: one cut out, and all of a page drawn on it with their texts.

import { html, useEffect, useRef, useState } from "../preact/standalone.module.js";
import { counted } from "./time.js";

const LONGEST = 640, UNSURE = 0.5, SMALLEST_TEXT = 0.008;

async function loaded(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

// The corners in pixels, moved to the page's edge if they are outside.
function onPage({ corners, unit }, { naturalWidth: width, naturalHeight: height }) {
  const [across, down] = unit === "rel" ? [width, height] : [1, 1];
  const within = (value, most) => Math.min(Math.max(value, 0), most);
  return corners.map(([x, y]) => [within(x * across, width), within(y * down, height)]);
}

function around(points) {
  const [across, down] = [0, 1].map((axis) => points.map((point) => point[axis]));
  const [left, top] = [Math.min(...across), Math.min(...down)];
  return { left, top, width: Math.max(...across) - left, height: Math.max(...down) - top };
}

function paint(canvas, image, region) {
  const { left, top, width, height } = around(onPage(region, image));
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(image, left, top, width, height, 0, 0, canvas.width, canvas.height);
}

export function CutOut({ url, region, label }) {
  const canvas = useRef(null);
  const [broken, setBroken] = useState(false);
  useEffect(() => {
    loaded(url)
      .then((image) => canvas.current && paint(canvas.current, image, region))
      .catch(() => setBroken(true));
  }, [url, region.unit, region.corners.join()]);
  if (broken) return html`<span class="no-image">no preview</span>`;
  return html`<canvas ref=${canvas} role="img" aria-label=${label}></canvas>`;
}

// The regions as {id, region, value, confidence, error}; `chosen` is the id of the one that stands out. A pointer
// chooses others with `onChoose`, if there is one: for keys there must be another way.
export function PageWithRegions({ url, regions, chosen, onChoose }) {
  const [size, setSize] = useState(null);
  const measure = ({ target: { naturalWidth, naturalHeight } }) => setSize({ naturalWidth, naturalHeight });
  // Not as an image inside the SVG: only an img is turned as its EXIF data says in every browser.
  return html`<div class="page">
    <img src=${url} alt="" onLoad=${measure} />
    ${size && html`<${Outlines} size=${size} regions=${regions} chosen=${chosen} onChoose=${onChoose} />`}
  </div>`;
}

function Outlines({ size, regions, chosen, onChoose }) {
  const label = `${counted(regions.length, "region")} of the page`;
  return html`<svg viewBox=${`0 0 ${size.naturalWidth} ${size.naturalHeight}`} role="img" aria-label=${label}>
    ${regions
      .filter((one) => one.region.corners.length)
      .map((one) => html`<${Outline} key=${one.id} one=${one} size=${size} chosen=${one.id === chosen} onChoose=${onChoose} />`)}
  </svg>`;
}

function Outline({ one, size, chosen, onChoose }) {
  const { id, region, value, confidence, error } = one;
  const points = onPage(region, size);
  const { left, top, height } = around(points);
  const look = error ? "bad" : confidence !== null && confidence < UNSURE ? "unsure" : "sure";
  return html`<g class=${`${look}${chosen ? " chosen" : ""}${onChoose ? " choice" : ""}`} onClick=${onChoose && (() => onChoose(id))}>
    <title>${`${id}: ${error ?? value ?? "not read yet"}`}</title>
    <polygon points=${points.map((point) => point.join(",")).join(" ")} />
    <text x=${left} y=${top} font-size=${Math.max(height / 2, SMALLEST_TEXT * size.naturalHeight)}>${value ?? ""}</text>
  </g>`;
}
