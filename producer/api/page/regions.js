// Given regions of pages: one cut out, and all of a page drawn on it with their texts.

import { drawing, element } from "./dom.js";

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

export async function cutOut(url, region, label) {
  const image = await loaded(url);
  const { left, top, width, height } = around(onPage(region, image));
  const scale = Math.min(1, LONGEST / Math.max(width, height));
  const canvas = element("canvas", { role: "img", "aria-label": label });
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  canvas.getContext("2d").drawImage(image, left, top, width, height, 0, 0, canvas.width, canvas.height);
  return canvas;
}

export async function pageWithRegions(url, regions, chosen) {
  const image = await loaded(url);
  const { naturalWidth: width, naturalHeight: height } = image;
  const drawn = regions.filter((one) => one.region.corners.length).map((one) => outlined(one, image, one.id === chosen));
  // Not as an image inside the SVG: only an img is turned as its EXIF data says in every browser.
  image.alt = "";
  const label = `${regions.length} regions of the page`;
  return element("div", { class: "page" }, image, drawing("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label }, ...drawn));
}

function outlined({ id, region, value, confidence, error }, image, chosen) {
  const points = onPage(region, image);
  const { left, top, height } = around(points);
  const look = error ? "bad" : confidence !== null && confidence < UNSURE ? "unsure" : "sure";
  const title = drawing("title");
  title.textContent = `${id}: ${error ?? value ?? "not read yet"}`;
  const text = drawing("text", { x: left, y: top, "font-size": Math.max(height / 2, SMALLEST_TEXT * image.naturalHeight) });
  text.textContent = value ?? "";
  const outline = drawing("polygon", { points: points.map((point) => point.join(",")).join(" ") });
  return drawing("g", { class: `${look}${chosen ? " chosen" : ""}` }, title, outline, text);
}
