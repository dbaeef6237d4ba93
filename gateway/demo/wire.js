// The wire: the last frames as they came, and what became of the connection. The tab that has the socket has the frames; the
// others are told by it, and show what they are told.
import { $, clip, clock, later, make, parse, put } from './dom.js';

const KEPT = 60;
const WIDE = 600; // characters of a frame

export function showWire(client, address) {
  let rows = [], paused = false, shared = false, count = 0;
  const render = later(() => {
    $('wire').replaceChildren(...rows.map(row));
    $('wire-empty').hidden = rows.length > 0;
    put('frames', String(count));
  });
  const add = (way, type, text) => {
    if (way !== 'note') count++;
    if (paused) return;
    rows = [{ way, type, text: text.length > WIDE ? `${clip(text, WIDE)} (${text.length} characters)` : text, at: Date.now() }, ...rows.slice(0, KEPT - 1)];
    render();
  };

  client.on('frame', ({ text, sent }) => add(sent ? 'out' : 'in', typeOf(text), sent ? '{"type":"auth","token":…}' : text));
  client.on('notification', (n) => shared && add('tab', 'notification', JSON.stringify(n)));
  client.on('error', (e) => add('note', 'error', e.message));
  client.on('reset', ({ cursor }) => shared && add('tab', 'reset', `go on from ${cursor}`));
  client.on('state', (c) => {
    shared = c.shared;
    $('wire-shared').hidden = !shared;
    if (c.state === 'connecting' && !shared) add('note', 'dial', dialled(address, c.transport, client.cursor));
    else if (c.reason || c.state === 'open') add('note', c.state, c.reason || (shared ? 'through another tab' : ''));
  });
  $('wire-pause').onclick = () => {
    paused = !paused;
    $('wire-pause').setAttribute('aria-pressed', paused);
    put('wire-pause', paused ? 'Go on' : 'Pause');
  };
  $('wire-clear').onclick = () => { rows = []; render(); };
  render();
}

const ARROWS = { in: ['↓', 'received'], out: ['↑', 'sent'], tab: ['⇄', 'from another tab'], note: ['·', 'connection'] };

function row({ way, type, text, at }) {
  const li = make('li', `frame ${way}`), [arrow, name] = ARROWS[way], sign = make('span', 'arrow', arrow);
  sign.setAttribute('role', 'img');
  sign.setAttribute('aria-label', name);
  const time = make('time', '', clock(at));
  li.append(time, sign, make('span', `type t-${type}`, type), make('code', '', text));
  return li;
}

const TYPES = ['welcome', 'notification', 'reset', 'draining', 'auth'];

function typeOf(text) {
  const { type } = parse(text);
  return type === undefined ? 'heartbeat' : TYPES.includes(type) ? type : 'other';
}

function dialled(address, transport, cursor) {
  const url = new URL(address, location.href);
  if (transport === 'sse') url.pathname = '/sse';
  if (cursor) url.searchParams.set('cursor', cursor);
  return `GET ${url.pathname}${url.search}, ${transport === 'sse' ? 'server-sent events' : 'WebSocket tidings.v1'}`;
}
