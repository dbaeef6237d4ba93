// The search: what became of an event, what a user got. Answers are steps, and all they say is text.

import { make } from "./words.js";

const SIGNS = { yes: "✓", no: "✗", unknown: "?", note: "·" };
const SPOKEN = { yes: "Yes: ", no: "No: ", unknown: "Not known: ", note: "" };

// What an outcome looks like, by the kinds of inquiry.
const GOOD = ["given", "stored"];
const OPEN = ["waiting", "pending", "uncertain", "probably"];

const form = document.getElementById("form");
const answer = document.getElementById("answer");
const go = document.getElementById("go");
let asked = null; // the AbortController of the search under way

form.addEventListener("submit", (e) => {
  e.preventDefault();
  look();
});

// A link can hold a question: /tidings?event=e-1&user=alice.
const given = new URLSearchParams(location.search);
if (given.get("event") || given.get("user")) {
  form.elements.event.value = given.get("event") ?? "";
  form.elements.user.value = given.get("user") ?? "";
  look();
}

async function look() {
  const event = form.elements.event.value.trim();
  const user = form.elements.user.value; // spaces may belong to it
  if (!event && !user) {
    say("Name an event, a user, or both.");
    form.elements.event.focus();
    return;
  }
  const question = new URLSearchParams();
  if (event) question.set("event", event);
  if (user) question.set("user", user);
  history.replaceState(null, "", "?" + question);

  asked?.abort();
  const mine = (asked = new AbortController());
  go.textContent = "Looking …";
  answer.setAttribute("aria-busy", "true");
  try {
    const r = await fetch(`tidings/${event ? "trace" : "who"}?${question}`, { signal: mine.signal });
    const report = await r.json();
    if (report.error) say(report.error);
    else show(report, event, user);
  } catch (err) {
    if (mine.signal.aborted) return;
    say("The process did not answer: " + err.message + ".");
  } finally {
    if (asked === mine) {
      asked = null;
      go.textContent = "Find out";
      answer.removeAttribute("aria-busy");
    }
  }
}

function say(text) {
  answer.replaceChildren(make("p", { class: "conclusion", "data-tone": "open" }, text));
}

function tone(report) {
  if (GOOD.includes(report.outcome)) return "good";
  if (!report.outcome || OPEN.includes(report.outcome)) return "open";
  return "bad";
}

function show(report, event, user) {
  const command = event ? ["trace", event, ...(user ? ["--user", user] : [])] : ["who", user];
  answer.replaceChildren(
    make("p", { class: "conclusion", "data-tone": tone(report), "data-outcome": report.outcome ?? "" }, report.conclusion),
    make("ol", { class: "steps" }, ...report.steps.map(step)),
    make("p", { class: "faint" }, "In a terminal: ", make("code", {}, "tidings " + command.map(quote).join(" "))),
  );
}

function step(s) {
  return make("li", { "data-mark": s.mark },
    make("span", { class: "sign", "aria-hidden": "true" }, SIGNS[s.mark] ?? "·"),
    make("div", {},
      make("p", {}, make("span", { class: "unseen" }, SPOKEN[s.mark] ?? ""), s.text),
      s.details?.length ? make("ul", {}, ...s.details.map((d) => make("li", {}, d))) : undefined));
}

const quote = (s) => (/^[\w.:\/@%+=,-]+$/.test(s) ? s : "'" + s.replaceAll("'", "'\\''") + "'");
