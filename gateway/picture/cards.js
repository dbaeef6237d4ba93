// The cards of the live picture: which figures stand together, and how they are said.

import { bytes, count, lasted, make, millis, percent } from "./words.js";
import { Plot } from "./plot.js";

const perSecond = (n) => count(n) + " /s";

// Each card: its title, what is big in it, its lines (figure, name), how values are said, the least top of its scale, and what it means.
export const CARDS = [
  { title: "Events in", lines: [["events", "handled"], ["dead", "to the DLQ"]], say: perSecond, least: 5, hint: "Events that a fanout of this process has finished with." },
  { title: "Records stored", lines: [["records", "records"]], say: perSecond, least: 5, hint: "Entries of the log that NATS has acknowledged." },
  { title: "Deliveries", lines: [["deliveries", "notifications"]], say: perSecond, least: 5, hint: "Notifications given to sockets, catch-up included." },
  { title: "Latency", lines: [["p50", "half"], ["p99", "99 %"]], say: millis, least: 0.005, range: 1, hint: "From the event's storage to the socket: so many within, over 5 s." },
  { title: "Sessions", lines: [["sessions", "open"]], say: count, least: 5, hint: "Browser connections of this process." },
  { title: "Arrivals", lines: [["fresh", "new"], ["resumed", "back"], ["reset", "reset"]], say: perSecond, least: 2, hint: "Sessions begun, by what became of their cursor." },
  { title: "Closes", lines: [["closes", "closed"]], say: perSecond, least: 2, hint: "Sessions that ended; by reason, in five minutes:", reasons: true },
  { title: "Behind", lines: [["waiting", "events"], ["lag", "records"]], say: count, least: 10, hint: "Events that no fanout has yet, and records of the log that this gateway has not." },
  { title: "Memory", lines: [["resident", "all"], ["heap", "Go heap"]], say: bytes, least: 32 * 2 ** 20, unit: 2 ** 20, hint: "Of this process, all of it and what Go has in use." },
  { title: "Processor", lines: [["cpu", "of a core"], ["gc", "pauses"]], say: percent, least: 0.1, hint: "Time at work, and stopped for the garbage collector." },
];

export class Card {
  constructor(kind) {
    this.kind = kind;
    this.names = kind.lines.map(([name]) => name);
    this.plot = new Plot(this.names, kind.least, kind.unit);
    this.values = kind.lines.map(() => make("strong", {}, "–"));
    this.top = make("span");
    this.range = make("p", { class: "faint range" });
    this.reasons = kind.reasons ? make("ul", { class: "reasons" }) : undefined;
    this.element = make("article", { class: "card figure", "data-figure": this.names[0] },
      make("h3", {}, kind.title),
      make("dl", { class: "now" }, ...kind.lines.map(([, label], i) =>
        make("div", { class: `line-${i}`, "data-of": this.names[i] }, make("dt", {}, kind.lines.length > 1 ? make("span", { class: "key", "aria-hidden": "true" }) : "", label), make("dd", {}, this.values[i])))),
      make("div", { class: "frame" }, this.plot.element, make("div", { class: "scale", "aria-hidden": "true" }, this.top, make("span", {}, "0"))),
      this.range,
      make("p", { class: "faint hint" }, kind.hint),
      this.reasons);
    this.plot.element.addEventListener("pointermove", (e) => this.point(e));
    this.plot.element.addEventListener("pointerleave", () => this.unpoint());
  }

  // has tells whether the process has any of the card's figures.
  has(names) { return this.names.some((n) => names.includes(n)); }

  show(points, now, span, names) {
    Object.assign(this, { points, now, span });
    for (const [i, name] of this.names.entries()) this.element.querySelector(`.line-${i}`).hidden = !names.includes(name);
    this.top.textContent = this.kind.say(this.plot.draw(points, now, span));
    if (this.pointed === undefined) this.say(points.at(-1));
    this.sum();
  }

  say(point) {
    this.names.forEach((name, i) => {
      const v = point?.values[name];
      this.values[i].textContent = v == null ? "–" : this.kind.say(v);
    });
  }

  // sum says the range of the first line, for eyes, and all lines, for those who do not see the plot.
  sum() {
    const ranges = this.kind.lines.map(([name, label]) => [label, name, extremes(this.points, name)]).filter(([, , r]) => r);
    const { say, title } = this.kind;
    const time = this.span / 60_000 + " min";
    const shown = ranges.find(([, name]) => name === this.names[this.kind.range ?? 0])?.[2];
    if (this.pointed === undefined) {
      this.range.textContent = shown ? `${say(shown.least)} – ${say(shown.most)} in ${time}` : `nothing in ${time}`;
    }
    this.plot.element.setAttribute("aria-label", `${title}, the last ${time}. ` + (ranges.length
      ? ranges.map(([label, name, r]) => `${label}: ${lastOf(this.points, name, say)}, between ${say(r.least)} and ${say(r.most)}`).join("; ")
      : "Nothing happened.") );
  }

  showReasons(closes) {
    const list = Object.entries(closes ?? {}).sort((a, b) => b[1] - a[1]).slice(0, 6);
    const most = list[0]?.[1] ?? 1;
    this.reasons.replaceChildren(...(list.length ? list.map(([reason, n]) => make("li", {},
      make("span", { class: "reason" }, reason.replaceAll("_", " ")), make("meter", { min: 0, max: most, value: n, "aria-hidden": "true" }), make("span", { class: "number" }, count(n))))
      : [make("li", { class: "faint" }, "none")]));
  }

  // point shows the values at the place of the pointer.
  point(e) {
    if (!this.points?.length) return;
    const box = this.plot.element.getBoundingClientRect();
    const part = (e.clientX - box.left) / box.width;
    const at = this.now - (1 - part) * this.span;
    this.pointed = this.points.reduce((best, p) => (Math.abs(p.at - at) < Math.abs(best.at - at) ? p : best));
    this.plot.mark(1 - (this.now - this.pointed.at) / this.span);
    this.range.textContent = lasted(this.now - this.pointed.at) + " ago";
    this.say(this.pointed);
  }

  unpoint() {
    this.pointed = undefined;
    this.plot.mark();
    this.say(this.points?.at(-1));
    this.sum();
  }
}

function extremes(points, name) {
  let range = null;
  for (const p of points ?? []) {
    const v = p.values[name];
    if (v == null) continue;
    range = range ? { least: Math.min(range.least, v), most: Math.max(range.most, v) } : { least: v, most: v };
  }
  return range;
}

function lastOf(points, name, say) {
  const v = points.at(-1)?.values[name];
  return v == null ? "nothing now" : "now " + say(v);
}
