// Sending: examples fill the form, the form publishes, and the page tells in words what became of it.
import { natsCommand, tidingsCommand } from './commands.js';
import { $, button, pretty, put } from './dom.js';
import { examples, fresh } from './examples.js';

const SOON = 3_000; // ms after which it is worth a word that nothing came

export function showSend(client, me) {
  const list = examples(me, me === 'bob' ? 'alice' : 'bob');
  let sent; // what was stored, and has not arrived yet
  for (const example of list) {
    const b = button('chip', example.name, () => fill(example, b));
    $('examples').append(b);
  }
  fill(list[0], $('examples').firstElementChild);
  $('send').onsubmit = (e) => { e.preventDefault(); publish(); };
  $('send').onkeydown = (e) => { if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) { e.preventDefault(); publish(); } };
  $('send').oninput = showCommands;
  for (const b of document.querySelectorAll('[data-copy]')) b.onclick = () => copy(b);
  $('first').onclick = () => {
    fill(list[0], $('examples').firstElementChild);
    publish();
  };
  client.on('notification', (n) => {
    if (!sent || !isOf(n, sent.event)) return;
    sent.arrived ??= performance.now();
    tell(sent);
  });

  async function publish() {
    const event = read();
    if (event.wrong) return outcome(event.wrong, false);
    const mine = sent = { at: performance.now(), event };
    $('submit').disabled = true;
    const wrong = await post(event);
    $('submit').disabled = false;
    if (wrong) {
      sent = undefined;
      return outcome(wrong, false);
    }
    mine.stored = performance.now();
    tell(mine);
    renew();
    setTimeout(() => mine === sent && mine.arrived === undefined && tell(mine, missing(client, me, mine)), SOON);
  }
}

// tell says what became of an event: it may be here before its publisher has heard that it is stored.
function tell({ at, stored, arrived }, missing = '') {
  if (stored === undefined) return;
  const after = (then) => `${Math.max(1, Math.round(then - at))} ms`;
  outcome(`Stored by NATS after ${after(stored)}. ${arrived === undefined ? missing : `Here after ${after(arrived)}.`}`.trim(), true);
}

function missing(client, me, { event }) {
  if (client.state !== 'open') return 'This tab is not connected; it catches up when it is.';
  if (JSON.stringify(event).includes(me)) return 'It did not arrive here: with a rules file, the rules decide whom it concerns.';
  return `It does not name ${me}, so nothing arrived here.`;
}

function fill({ note, subject, body, headers = {} }, chip) {
  $('subject').value = subject;
  $('headers').value = Object.entries(headers).map(([name, value]) => `${name}: ${value}`).join('\n');
  $('body').value = typeof body === 'string' ? body : pretty(body);
  for (const textarea of [$('headers'), $('body')]) textarea.rows = Math.min(12, Math.max(2, textarea.value.split('\n').length));
  put('note', note);
  for (const other of $('examples').children) other.setAttribute('aria-pressed', other === chip);
  put('sent', '');
  renew();
}

// renew gives the form's CloudEvent a new id, so that sending it again, or choosing it again, is another event.
function renew() {
  for (const field of [$('headers'), $('body')]) field.value = field.value.replace(/\bdemo-\d{6,}\b/, fresh);
  showCommands();
}

function read() {
  const event = { subject: $('subject').value.trim(), headers: {}, body: $('body').value };
  for (const [i, line] of $('headers').value.split('\n').entries()) {
    if (!line.trim()) continue;
    const [, name, value] = /^\s*([^\s:]+)\s*:\s*(.*?)\s*$/.exec(line) ?? [];
    if (name) event.headers[name] = value;
    else event.wrong ??= `Line ${i + 1} of the headers is not “Name: value”.`;
  }
  return event;
}

// post returns what is wrong, in words.
async function post(event) {
  try {
    const response = await fetch('/demo/publish', { method: 'POST', headers: { 'Content-Type': 'application/json' }, body: JSON.stringify(event) });
    return response.ok ? undefined : (await response.json()).error;
  } catch {
    return 'The gateway does not answer: the event may not be stored. Try again when the light is on.';
  }
}

// isOf tells that a notification came of an event: it has its id, where the event has one, or else its data.
function isOf({ id, data }, { headers, body }) {
  let value = body;
  try { value = JSON.parse(body); } catch { /* not JSON: its data is the text */ }
  return Object.values(headers).includes(id) || value?.id === id || JSON.stringify(data) === JSON.stringify(value);
}

function outcome(text, good) {
  $('sent').dataset.good = good;
  put('sent', text);
}

function showCommands() {
  const event = read(), line = tidingsCommand(event);
  put('nats', natsCommand(event));
  put('tidings', line ?? '');
  $('tidings-line').hidden = line === undefined;
  $('tidings-none').hidden = line !== undefined;
}

async function copy(b) {
  const shown = $(b.dataset.copy);
  try {
    await navigator.clipboard.writeText(shown.textContent);
    b.textContent = 'Copied';
  } catch {
    getSelection().selectAllChildren(shown); // no clipboard here: select it at least
    b.textContent = 'Selected';
  }
  put('live', `Command ${b.textContent.toLowerCase()}`);
  setTimeout(() => { b.textContent = 'Copy'; }, 1500);
}
