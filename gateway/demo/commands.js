// The same event from a terminal.

// quote makes one word of s for a POSIX shell.
const quote = (s) => (/^[\w.,:/+=-]+$/.test(s) ? s : `'${s.replaceAll("'", `'\\''`)}'`);

export function natsCommand({ subject, body, headers }) {
  const more = Object.entries(headers).map(([name, value]) => ` -H ${quote(`${name}:${value}`)}`);
  return `nats pub ${quote(subject)} ${quote(compact(body))}${more.join('')}`;
}

// tidingsCommand is undefined where the event has headers, which `tidings publish` does not carry.
export function tidingsCommand({ subject, body, headers }) {
  return Object.keys(headers).length ? undefined : `go run . publish ${quote(subject)} ${quote(compact(body))}`;
}

function compact(body) {
  try { return JSON.stringify(JSON.parse(body)); } catch { return body; } // not JSON: as it stands
}
