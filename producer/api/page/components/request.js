// The request that a filled form is, and the command line that asks for the same.

const split = (text) => text.split(/[\n,]/).map((one) => one.trim()).filter(Boolean);

const READ = {
  boolean: (text) => text === "true",
  integer: Number,
  number: Number,
  array: split,
};

// Only what was filled in, so that the deployment's defaults hold for the rest.
export function requestOf(values, fields) {
  const sources = (values.source ?? "").split("\n").map((one) => one.trim()).filter(Boolean);
  const request = { source: sources.length > 1 ? sources : (sources[0] ?? ""), output: (values.output ?? "").trim(), kind: values.kind };
  for (const { name, type } of fields) {
    const text = (values[name] ?? "").trim();
    if (text) request[name] = (READ[type] ?? ((one) => one))(text);
  }
  return request;
}

// A word of a POSIX shell.
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

// Flags that are given once for each value, not with all values at once.
const REPEATED = new Set(["include", "exclude"]);

export function commandLine({ source, output, ...others }) {
  const words = ["trace-ocr", "submit", ...[source].flat().map(quoted), "-o", quoted(output)];
  for (const [name, value] of Object.entries(others)) words.push(...flags(name, value));
  return words.join(" ");
}

function flags(name, value) {
  const flag = `--${name.replaceAll("_", "-")}`;
  if (value === true) return [flag];
  if (value === false) return [`--no-${flag.slice(2)}`];
  if (REPEATED.has(name)) return value.flatMap((one) => [flag, quoted(one)]);
  // A value that begins with a dash is not taken for a flag of its own.
  const text = quoted([value].flat().join(","));
  return text.startsWith("-") ? [`${flag}=${text}`] : [flag, text];
}

export const curlLine = (request, origin) =>
  `curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\\n  -d ${quoted(JSON.stringify(request))} ${quoted(`${origin}/jobs`)}`;
