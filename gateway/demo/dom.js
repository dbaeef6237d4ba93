// What every part of the page needs to write into it. Whatever came from outside goes into textContent, never into markup.

export const $ = (id) => document.getElementById(id);

// put writes only what changed: a live region would read it out again.
export const put = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };

export const make = (tag, className = '', text = '') => Object.assign(document.createElement(tag), { className, textContent: text });

export const button = (className, text, onclick) => Object.assign(make('button', className, text), { type: 'button', onclick });

// later runs f once for any number of calls within a moment, so that a burst is not a thousand renderings.
export function later(f) {
  let timer;
  return () => { timer ??= setTimeout(() => { timer = undefined; f(); }, 30); };
}

// pretty is JSON over several lines, but what is short stays on one.
export function pretty(value, indent = '') {
  const flat = JSON.stringify(value);
  if (flat.length <= 40 || typeof value !== 'object') return flat;
  const list = Array.isArray(value), inner = `${indent}  `;
  const parts = Object.entries(value).map(([k, v]) => inner + (list ? '' : `${JSON.stringify(k)}: `) + pretty(v, inner));
  return `${list ? '[' : '{'}\n${parts.join(',\n')}\n${indent}${list ? ']' : '}'}`;
}

// parse is a frame as an object, whatever came.
export function parse(text) {
  try { return Object(JSON.parse(text)); } catch { return { type: 'not JSON' }; }
}

export const clip = (text, most) => (text.length > most ? `${text.slice(0, most)}…` : text);

export function clock(at) {
  const d = new Date(at), two = (n) => String(n).padStart(2, '0');
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}.${String(d.getMilliseconds()).padStart(3, '0')}`;
}

export function ago(at, now = Date.now()) {
  const s = Math.round((now - at) / 1000);
  if (s < 5) return 'just now';
  if (s < 60) return `${s} s ago`;
  if (s < 3600) return `${Math.floor(s / 60)} min ago`;
  return new Date(at).toLocaleString([], s < 86_400 ? { timeStyle: 'short' } : { dateStyle: 'medium', timeStyle: 'short' });
}

export const seconds = (ms) =>
  ms < 1_000 ? `${Math.max(0, Math.round(ms))} ms` : ms < 120_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;
