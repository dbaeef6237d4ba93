// The live picture: asks for new figures once a second, and draws them.

import { CARDS, Card } from "./cards.js";
import { lasted } from "./words.js";
import "./search.js";

const $ = (id) => document.getElementById(id);
const cards = CARDS.map((kind) => new Card(kind));
let points = []; // {at, values by name}, oldest first
let span = 300_000;
let timer = null;
let paused = false;
let failures = 0;

async function ask() {
  timer = null;
  try {
    const r = await fetch("tidings/figures?after=" + (points.at(-1)?.at ?? 0), { signal: AbortSignal.timeout(5000) });
    if (!r.ok) throw new Error("status " + r.status);
    take(await r.json());
    failures = 0;
  } catch {
    failures++;
    light("bad", "this process does not answer");
  }
  plan(failures ? Math.min(1000 * 2 ** failures, 10_000) : 1000);
}

function plan(ms) {
  if (!timer && !paused && !document.hidden) timer = setTimeout(ask, ms);
}

function take(f) {
  if (points.length && f.started !== take.started) points = []; // another process answers now
  take.started = f.started;
  span = f.kept;
  f.rows.forEach((row, i) => points.push({ at: f.at[i], values: Object.fromEntries(f.names.map((name, j) => [name, row[j] ?? null])) }));
  points = points.filter((p) => p.at > f.now - span);
  $("process").textContent = `${f.pod} · ${f.roles.join(" and ")} · running for ${lasted(f.now - f.started)}`;
  light(f.trouble ? "warn" : "good", f.trouble ? "not ready: " + f.trouble : "ready");
  draw(f);
}

function draw(f) {
  const shown = cards.filter((c) => c.has(f.names));
  if ($("cards").children.length !== shown.length) $("cards").replaceChildren(...shown.map((c) => c.element));
  // A young house has a narrow picture, not an empty one.
  const seen = points.length ? f.now - points[0].at : 0;
  const wide = [60_000, 120_000].find((ms) => seen <= ms) ?? span;
  for (const c of shown) {
    c.show(points, f.now, wide, f.names);
    if (c.reasons) c.showReasons(f.closes);
  }
}

function light(state, text) {
  if ($("light-text").textContent === text) return; // a status is read out when it changes
  $("light").dataset.state = state;
  $("light-text").textContent = text;
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", paused);
  $("pause").textContent = paused ? "Go on" : "Pause";
  clearTimeout(timer);
  timer = null;
  plan(0);
});

document.addEventListener("visibilitychange", () => plan(0));
ask();
