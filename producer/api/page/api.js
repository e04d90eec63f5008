// Calls to the API with the viewer's key, which is kept in this tab's session storage.

const STORED = "trace-ocr-key";

export class Refusal extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }

  // Whether a later attempt may succeed: the API, or what it needs, is away.
  get passes() {
    return this.status === 0 || this.status >= 500 || this.status === 429;
  }
}

export const hasKey = () => sessionStorage.getItem(STORED) !== null;
export const keepKey = (key) => sessionStorage.setItem(STORED, key);
export const forgetKey = () => sessionStorage.removeItem(STORED);

export async function call(path, options = {}) {
  const { anyStatus, ...sent } = options;
  const key = sessionStorage.getItem(STORED);
  const headers = { ...sent.headers, ...(key ? { Authorization: `Bearer ${key}` } : {}) };
  const answer = await fetch(path, { ...sent, headers }).catch(refuse);
  if (!answer.ok && !anyStatus) {
    const body = await answer.json().catch(() => ({}));
    throw new Refusal(answer.status, sentence(body.detail) || answer.statusText);
  }
  return answer;
}

function refuse(error) {
  if (error.name === "AbortError") throw error;
  throw new Refusal(0, "the API does not answer");
}

// A detail is a text, or a list of problems with the place and what is wrong there.
function sentence(detail) {
  if (!Array.isArray(detail)) return detail;
  return detail.map(({ loc, msg }) => `${loc.slice(1).join(".")}: ${msg.replace("Value error, ", "")}`).join("; ");
}

export const get = async (path, options) => (await call(path, options)).json();
export const post = async (path, body) =>
  (
    await call(path, {
      method: "POST",
      ...(body && { body: JSON.stringify(body), headers: { "Content-Type": "application/json" } }),
    })
  ).json();

// Follows a job's events. EventSource cannot send a key, so the stream is parsed here.
export async function* events(path, signal) {
  const answer = await call(path, { signal });
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read().catch(refuse);
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
