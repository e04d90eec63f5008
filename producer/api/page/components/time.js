// Numbers, durations and moments in words.

import { createContext, html, useContext, useEffect, useState } from "../preact/standalone.module.js";

const TICK_SECONDS = 5;

const Now = createContext(0);

// Lets the ages below it count on.
export function Clock({ children }) {
  const [now, setNow] = useState(Date.now());
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), TICK_SECONDS * 1000);
    return () => clearInterval(timer);
  }, []);
  return html`<${Now.Provider} value=${now}>${children}<//>`;
}

export const useNow = () => Math.max(useContext(Now), Date.now());

export const count = (number) => Number(number).toLocaleString("en");

// A number with what it counts: "1 chunk", "1,204 chunks". The plural is only given if it is not `thing` with an s.
export const counted = (number, thing, things = `${thing}s`) => `${count(number)} ${number === 1 ? thing : things}`;

export const rate = (perSecond) => (perSecond < 100 ? perSecond.toFixed(1) : count(Math.round(perSecond)));

export function duration(seconds) {
  if (seconds === null || seconds === undefined) return "";
  if (seconds < 60) return `${seconds.toFixed(seconds < 10 ? 1 : 0)} s`;
  const minutes = Math.round(seconds / 60);
  if (minutes < 60) return `${minutes} min`;
  const hours = Math.floor(minutes / 60);
  return hours < 48 ? `${hours} h ${minutes % 60} min` : `${Math.round(hours / 24)} days`;
}

// The time of day of a moment, in the viewer's zone; with the day if that is not today.
export function clock(unixSeconds) {
  const at = new Date(unixSeconds * 1000);
  const time = at.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
  if (at.toDateString() === new Date().toDateString()) return time;
  return `${at.toLocaleDateString([], { day: "numeric", month: "short" })}, ${time}`;
}

// As coarse as one remembers it: in the largest unit of which there is at least one.
function age(seconds) {
  if (seconds >= 1.5 * 86_400) return counted(Math.floor(seconds / 86_400), "day");
  const [unit, length] = [["h", 3600], ["min", 60]].find(([, length]) => seconds >= 1.5 * length) ?? ["s", 1];
  return `${Math.floor(seconds / length)} ${unit}`;
}

export function Ago({ at }) {
  const now = useNow();
  const date = new Date(at * 1000);
  return html`<time datetime=${date.toISOString()} title=${date.toLocaleString()}>${age(Math.max(0, now / 1000 - at))} ago</time>`;
}

export function At({ at }) {
  const date = new Date(at * 1000);
  return html`<time datetime=${date.toISOString()} title=${date.toLocaleString()}>${clock(at)}</time>`;
}
