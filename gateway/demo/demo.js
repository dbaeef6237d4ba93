// The page: it shows what the connection says, and publishes what the form holds. Whatever came from outside goes into
// textContent, never into markup.
import { Connection } from './connection.js';

const SHOWN = 200; // notifications kept in the list
const $ = (id) => document.getElementById(id);
const put = (id, text) => { if ($(id).textContent !== text) $(id).textContent = text; };
const make = (tag, className, text = '') => Object.assign(document.createElement(tag), { className, textContent: text });
const seconds = (ms) => ms < 9_900 ? `${(Math.ceil(ms / 100) / 10).toFixed(1)} s` : ms < 120_000 ? `${Math.round(ms / 1000)} s` : `${Math.round(ms / 60_000)} min`;

const user = new URLSearchParams(location.search).get('user')?.trim();
if (user) start(user); else $('nobody').hidden = false;

function start(user) {
  document.title = `${user} – Tidings`;
  put('user', user);
  $('plain').href = `/plain?user=${encodeURIComponent(user)}`;
  $('somebody').hidden = false;
  const connection = new Connection(user, sessionStorage);
  showConnection(connection);
  showArrivals(connection);
  sendEvents();
  connection.connect();
}

// Connection: state, cursor, session, heartbeat, how the last resume went.

function showConnection(connection) {
  const render = () => {
    const { state, why, session, heartbeatAt, retryAt } = connection;
    const now = Date.now();
    $('state').dataset.state = state;
    put('state-text', state === 'waiting' ? `waiting, next try in ${seconds(Math.max(0, retryAt - now))}` : state);
    put('why', why);
    put('cursor', connection.cursor ?? '–');
    put('session', session?.session ?? '–');
    put('resume', session?.resume ?? '–');
    const every = session ? `every ${seconds(session.heartbeat)} of silence` : '–';
    put('heartbeat', state === 'open' && heartbeatAt ? `${Math.floor((now - heartbeatAt) / 1000)} s ago, ${every}` : every);
    put('drop', state === 'idle' ? 'Come back' : 'Drop connection');
  };
  setInterval(render, 250);
  for (const type of ['state', 'welcome', 'heartbeat', 'notification', 'reset']) connection.addEventListener(type, render);
  connection.addEventListener('state', () => put('live', `Connection ${connection.state}`));
  connection.addEventListener('draining', (e) => put('live', `This server leaves, back in ${seconds(e.detail.retryAfterMs)}`));
  $('drop').onclick = () => (connection.state === 'idle' ? connection.connect() : connection.drop());
}

// Arrivals: newest on top, with a line wherever the connection was resumed or the position lost.

function showArrivals(connection) {
  let count = 0, catchUp = null; // catchUp: { before, away, count, line } from a resumed welcome to its first heartbeat

  const add = (item) => {
    $('list').prepend(item);
    while ($('list').childElementCount > SHOWN) $('list').lastElementChild.remove();
    $('empty').hidden = true;
  };
  const reset = (cursor) => {
    catchUp = null;
    $('reset').hidden = false;
    put('reset', `Reset: the position was lost. An application would reload its state now; this page goes on from ${cursor}.`);
    put('caught', 'unknown, the position was lost');
    add(make('li', 'mark bad', 'reset: something may be missing here'));
  };
  const showCatchUp = () => {
    const after = catchUp.away === null ? 'after a while away' : `after ${seconds(catchUp.away)} away`;
    const text = catchUp.count ? `${catchUp.count} caught up ${after}` : `nothing missed ${after}`;
    put('caught', text);
    catchUp.line.textContent = text;
  };

  connection.addEventListener('welcome', ({ detail: w }) => {
    if (w.resume === 'reset') return reset(w.cursor);
    $('reset').hidden = true;
    if (w.resume !== 'complete') return;
    catchUp = { before: w.at, away: w.away, count: 0, line: make('li', 'mark') };
    add(catchUp.line);
    showCatchUp();
  });
  connection.addEventListener('heartbeat', () => { catchUp = null; });
  connection.addEventListener('reset', ({ detail }) => reset(detail.cursor));
  connection.addEventListener('notification', ({ detail: n }) => {
    const at = Date.parse(n.time), caught = catchUp !== null && at < catchUp.before;
    if (caught) { catchUp.count++; showCatchUp(); }
    add(notification(n, at, caught));
    put('count', String(++count));
    put('live', `${n.kind} arrived`);
  });
  $('clear').onclick = () => {
    $('list').replaceChildren();
    $('empty').hidden = false;
    put('count', String(count = 0));
  };
}

function notification(n, at, caught) {
  const item = make('li', caught ? 'arrival caught' : 'arrival'), head = make('div', 'head');
  const latency = Date.now() - at; // only honest where both clocks are one: on this machine
  head.append(make('b', 'kind', n.kind));
  if (caught) head.append(make('span', 'pill', 'caught up'));
  else if (latency >= 0 && latency < 10_000) head.append(make('span', 'latency', `${latency} ms`));
  head.append(make('time', '', Number.isNaN(at) ? n.time : clock(at)));
  item.append(head);
  if (n.data !== undefined) item.append(make('pre', 'mono', pretty(n.data)));
  item.append(make('div', 'id mono', n.id));
  return item;
}

// pretty is JSON over several lines, but what is short stays on one.
function pretty(value, indent = '') {
  const flat = JSON.stringify(value);
  if (flat.length <= 40 || typeof value === 'string') return flat;
  const list = Array.isArray(value), inner = `${indent}  `;
  const parts = Object.entries(value).map(([k, v]) => inner + (list ? '' : `${JSON.stringify(k)}: `) + pretty(v, inner));
  return `${list ? '[' : '{'}\n${parts.join(',\n')}\n${indent}${list ? ']' : '}'}`;
}

function clock(at) {
  const d = new Date(at);
  return `${d.toLocaleTimeString([], { hour12: false })}.${String(d.getMilliseconds()).padStart(3, '0')}`;
}

// Sending: the buttons set the default audience (userId, userIds) in the body, then publish it.

function sendEvents() {
  $('body').value = pretty({ userId: 'alice', orderId: 1042, status: 'shipped' });
  if (user !== 'alice' && user !== 'bob') {
    const me = make('button', '', `to ${user}`);
    me.type = 'button';
    me.onclick = () => sendTo([user]);
    $('to').prepend(me);
  }
  for (const button of document.querySelectorAll('[data-users]')) {
    button.onclick = () => sendTo(button.dataset.users.split(' '));
  }
  for (const button of document.querySelectorAll('[data-copy]')) button.onclick = () => copy(button);
  $('form').onsubmit = (e) => { e.preventDefault(); publish(); };
  $('body').onkeydown = (e) => { if (e.key === 'Enter' && (e.ctrlKey || e.metaKey)) publish(); };
  $('form').oninput = showCommands;
  showCommands();
}

function sendTo(users) {
  let body;
  try { body = JSON.parse($('body').value); } catch (e) { return outcome(`The body is not JSON: ${e.message}`, false); }
  if (typeof body !== 'object' || body === null || Array.isArray(body)) return outcome('The body is not a JSON object.', false);
  const { userId, userIds, ...rest } = body;
  $('body').value = pretty({ ...(users.length > 1 ? { userIds: users } : { userId: users[0] }), ...rest });
  showCommands();
  publish();
}

async function publish() {
  const subject = $('subject').value.trim(), started = performance.now();
  try {
    const response = await fetch('/demo/publish', {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify({ subject, body: $('body').value }),
    });
    if (!response.ok) return outcome((await response.json()).error, false);
    outcome(`Stored by NATS after ${Math.round(performance.now() - started)} ms.`, true);
  } catch {
    outcome('The gateway does not answer.', false);
  }
}

function outcome(text, good) {
  put('sent', text);
  $('sent').dataset.good = good;
}

function showCommands() {
  let body = $('body').value;
  try { body = JSON.stringify(JSON.parse(body)); } catch { /* not JSON: as it stands */ }
  const args = `${quote($('subject').value.trim())} ${quote(body)}`;
  put('nats', `nats pub ${args}`);
  put('tidings', `go run . publish ${args}`);
}

// quote makes one word of s for a POSIX shell.
function quote(s) {
  return /^[\w.-]+$/.test(s) ? s : `'${s.replaceAll("'", `'\\''`)}'`;
}

async function copy(button) {
  try {
    await navigator.clipboard.writeText($(button.dataset.copy).textContent);
    button.textContent = 'copied';
  } catch {
    getSelection().selectAllChildren($(button.dataset.copy)); // no clipboard here: select it at least
    button.textContent = 'selected';
  }
  setTimeout(() => { button.textContent = 'copy'; }, 1500);
}
