// The start page: the client that the gateway serves, and around it the parts of the page, one file each.
import { createClient } from '/client.js';
import { showBell } from './bell.js';
import { $, put } from './dom.js';
import { Facts } from './facts.js';
import { Inbox } from './inbox.js';
import { listenToKeys } from './keys.js';
import { showLight } from './light.js';
import { showList } from './list.js';
import { showSend } from './send.js';
import { showToasts } from './toasts.js';
import { showWire } from './wire.js';

const user = new URLSearchParams(location.search).get('user')?.trim();
if (user) start(user); else $('nobody').hidden = false;

function start(user) {
  showUser(user);
  const url = `/ws?user=${encodeURIComponent(user)}`;
  const client = createClient({ url, sharedTabs: true });
  const inbox = new Inbox(user, sessionStorage), facts = new Facts(client, user, sessionStorage);
  showBell(inbox, `${user} – Tidings`);
  showList(inbox);
  showToasts(inbox);
  showLight(client);
  showWire(client, url);
  showSend(client, user);
  listenToKeys(inbox);

  client.on('notification', (n) => {
    const now = Date.now(), at = Date.parse(n.time), caught = facts.caughtUp(n.time);
    const latency = now - at; // only honest where both clocks are one: on this machine
    inbox.add({ ...n, id: `${n.id}`, kind: `${n.kind}`, time: `${n.time}`, at: caught ? at : now, read: false, caught, latency: !caught && latency >= 0 && latency < 10_000 ? latency : undefined });
  });
  client.on('reset', () => {
    $('reset').hidden = false;
    inbox.add({ at: Date.now(), read: true, mark: 'Something may be missing here' });
  });
  $('reset-reload').onclick = () => location.reload();
  $('reset-dismiss').onclick = () => { $('reset').hidden = true; $('inbox').focus(); };
  facts.connect();
}

function showUser(user) {
  for (const element of document.querySelectorAll('[data-user]')) element.textContent = user;
  put('avatar', [...user][0].toUpperCase());
  const other = user === 'bob' ? 'alice' : 'bob';
  for (const link of document.querySelectorAll('[data-other]')) {
    link.href = `/?user=${other}`;
    link.textContent = link.dataset.other.replace('*', other);
  }
  $('again').href = `/?user=${encodeURIComponent(user)}`;
  $('plain').href = `/plain?user=${encodeURIComponent(user)}`;
  for (const element of document.querySelectorAll('[data-somebody]')) element.hidden = false;
}
