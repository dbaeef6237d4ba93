// Numbers and times as a person reads them, and elements that hold text only.

const digits = (n, most) => n.toLocaleString("en", { maximumFractionDigits: most });

// count is a number in at most four digits: 0.25, 3.1, 128, 4.2k, 1.3M.
export function count(n) {
  const size = Math.abs(n);
  if (size >= 1e6) return digits(n / 1e6, size < 1e7 ? 1 : 0) + "M";
  if (size >= 1e4) return digits(n / 1e3, size < 1e5 ? 1 : 0) + "k";
  return digits(n, size >= 100 ? 0 : size >= 1 ? 1 : 2);
}

// bytes is in binary units.
export function bytes(n) {
  if (n >= 2 ** 30) return digits(n / 2 ** 30, 1) + " GiB";
  if (n >= 2 ** 20) return digits(n / 2 ** 20, n < 10 * 2 ** 20 ? 1 : 0) + " MiB";
  return digits(n / 2 ** 10, 0) + " KiB";
}

// millis are seconds, shown as milliseconds or seconds.
export function millis(s) {
  if (s >= 1) return digits(s, 1) + " s";
  return digits(s * 1000, s < 0.01 ? 1 : 0) + " ms";
}

export function percent(n) {
  return digits(n * 100, n < 0.1 ? 1 : 0) + " %";
}

// lasted says a duration of milliseconds in its two largest units.
export function lasted(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  if (s < 60) return s + " s";
  if (s < 3600) return Math.floor(s / 60) + " min " + (s % 60) + " s";
  if (s < 86400) return Math.floor(s / 3600) + " h " + Math.floor((s % 3600) / 60) + " min";
  return Math.floor(s / 86400) + " d " + Math.floor((s % 86400) / 3600) + " h";
}

// make builds an element: its attributes, and children that are elements or text. Nothing here ever becomes markup.
export function make(name, attributes = {}, ...children) {
  const e = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value !== undefined && value !== false) e.setAttribute(key, value === true ? "" : value);
  }
  e.append(...children.filter((c) => c !== undefined));
  return e;
}
