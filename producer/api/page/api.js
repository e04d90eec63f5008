// Calls to the API with the viewer's key, which is kept in this tab's session storage.

const STORED = "trace-ocr-key";

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export const hasKey = () => sessionStorage.getItem(STORED) !== null;
export const keepKey = (key) => sessionStorage.setItem(STORED, key);
export const forgetKey = () => sessionStorage.removeItem(STORED);

export async function call(path, options = {}) {
  const key = sessionStorage.getItem(STORED);
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  const answer = await fetch(path, { ...options, headers });
  if (!answer.ok && !options.anyStatus) {
    const body = await answer.json().catch(() => ({}));
    throw new Refusal(answer.status, sentence(body.detail) || answer.statusText);
  }
  return answer;
}

// A detail is a text, or a list of problems with the place and what is wrong there.
function sentence(detail) {
  if (!Array.isArray(detail)) return detail;
  return detail.map(({ loc, msg }) => `${loc.slice(1).join(".")}: ${msg.replace("Value error, ", "")}`).join("; ");
}

export const get = async (path) => (await call(path)).json();
export const post = async (path) => (await call(path, { method: "POST" })).json();

// Follows a job's events. EventSource cannot send a key, so the stream is parsed here.
export async function* events(path, signal) {
  const answer = await call(path, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n\n");
    rest = parts.pop();
    for (const part of parts) {
      const data = part.split("\n").filter((line) => line.startsWith("data: ")).map((line) => line.slice(6));
      if (data.length) yield JSON.parse(data.join("\n"));
    }
  }
}

export async function download(path, name) {
  const url = URL.createObjectURL(await (await call(path)).blob());
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
}
