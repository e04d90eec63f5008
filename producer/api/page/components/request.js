// The request that a filled form is, and the command line that asks for the same.

// Lists whose values may hold commas: they are written one on each line, and are flags of their own each.
export const BY_LINE = new Set(["include", "exclude"]);

const split = (text, separator) => text.split(separator).map((one) => one.trim()).filter(Boolean);

const READ = {
  boolean: (text) => text === "true",
  integer: Number,
  number: Number,
  array: (text, name) => split(text, BY_LINE.has(name) ? "\n" : ","),
};

// Only what was filled in, so that the deployment's defaults hold for the rest.
export function requestOf(values, fields) {
  const sources = split(values.source ?? "", "\n");
  const request = { source: sources.length > 1 ? sources : (sources[0] ?? ""), output: (values.output ?? "").trim(), kind: values.kind };
  for (const { name, type } of fields) {
    const text = (values[name] ?? "").trim();
    if (text) request[name] = (READ[type] ?? String)(text, name);
  }
  return request;
}

// A word of a POSIX shell.
const quoted = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`);

export function commandLine({ source, output, ...others }) {
  const words = ["trace-ocr", "submit", ...[source].flat().map(quoted), "-o", quoted(output)];
  for (const [name, value] of Object.entries(others)) words.push(...flags(name, value));
  return words.join(" ");
}

function flags(name, value) {
  const flag = `--${name.replaceAll("_", "-")}`;
  if (value === true) return [flag];
  if (value === false) return [`--no-${flag.slice(2)}`];
  if (BY_LINE.has(name)) return value.flatMap((one) => [flag, quoted(one)]);
  // A value that begins with a dash is not taken for a flag of its own.
  const text = quoted([value].flat().join(","));
  return text.startsWith("-") ? [`${flag}=${text}`] : [flag, text];
}

export const curlLine = (request, origin) =>
  `curl -H "Authorization: Bearer $KEY" -H "Content-Type: application/json" \\\n  -d ${quoted(JSON.stringify(request))} ${quoted(`${origin}/jobs`)}`;
