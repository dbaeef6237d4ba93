// The connection in words: the light in the header, and the notice where a person should know more.
import { $, parse, put, seconds } from './dom.js';

// What the close codes of protocol.md mean to somebody who reads the page.
const MEANING = {
  1006: 'The gateway does not answer.',
  1012: 'This server is leaving, and another one takes over.',
  1013: 'The gateway is overloaded.',
  4008: 'This tab did not keep up.',
  4401: 'You are signed out: the gateway does not accept who you are.',
  4403: 'The gateway refuses this user: access was denied, or taken away.',
  4408: 'The connection went silent.',
  4429: 'This user has too many connections.',
};
const SAFE = 'What arrives meanwhile is caught up.';

const codeOf = (reason) => Number(/^closed with (\d+)/.exec(reason)?.[1]);

// words are what the light says: short, since it has its place on a phone, too.
export function words({ state, transport, shared, reason, retryAt }, now = Date.now()) {
  if (state === 'open') return ['Open', transport === 'sse' ? 'over HTTP' : '', shared ? 'through another tab' : ''].filter(Boolean).join(' ');
  if (state === 'waiting') return `Waiting ${Math.max(1, Math.ceil((retryAt - now) / 1000))} s`;
  if (state === 'connecting') return 'Connecting';
  return codeOf(reason) === 4403 ? 'Refused' : 'Disconnected';
}

// notice is what stands below the header; undefined while there is nothing to say. A first attempt needs no words.
export function notice({ state, reason, attempt }, draining) {
  if (state === 'open') return draining === undefined ? undefined : { tone: 'warn', text: `This server is leaving. The page comes back in ${seconds(draining)}, at another one. ${SAFE}` };
  if (state === 'connecting') return attempt ? { tone: 'warn', text: `Trying again. ${SAFE}` } : undefined;
  const meaning = MEANING[codeOf(reason)];
  if (state === 'waiting') return { tone: 'warn', text: `${meaning ?? `Connection lost: ${reason}.`} ${SAFE}`, action: 'Try now' };
  if (!reason) return undefined;
  if (reason === 'closed by the page') return { tone: 'quiet', text: `Disconnected by hand. ${SAFE}`, action: 'Connect' };
  return { tone: 'bad', text: meaning ?? `The connection ended: ${reason}.`, action: 'Connect' };
}

export function showLight(client) {
  let change = { state: 'idle', transport: 'websocket', reason: '', attempt: 0, shared: false }, draining, timer;
  const tick = () => {
    put('state-text', words(change));
    clearTimeout(timer);
    if (change.state === 'waiting') timer = setTimeout(tick, 250);
  };
  const render = () => {
    $('state').dataset.state = change.state;
    tick();
    // The countdown is for the eyes: read out, it would not end.
    put('live', `Connection: ${change.state === 'waiting' ? 'waiting to try again' : words(change)}`);
    put('why', change.reason || '–');
    const n = notice(change, draining);
    $('state').dataset.tone = n?.tone ?? '';
    $('notice').hidden = !n;
    if (!n) return;
    $('notice').dataset.tone = n.tone;
    put('notice-text', n.text);
    $('notice-action').hidden = !n.action;
    put('notice-action', n.action ?? '');
  };
  client.on('state', (c) => {
    if (c.state !== 'open' || change.state !== 'open') draining = undefined;
    change = c;
    render();
  });
  client.on('frame', ({ text, sent }) => {
    const { type, retryAfterMs } = parse(text);
    if (sent || type !== 'draining') return;
    draining = Number(retryAfterMs) || 0;
    render();
  });
  $('notice-action').onclick = () => client.reconnect();
  render();
}
