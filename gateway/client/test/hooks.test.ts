import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { effectScope } from 'vue';
import { closeNotifications, useNotifications } from '../src/vue.ts';
import { House, ids } from './tab.ts';
import type { Page } from './world.ts';

// The composable takes its surroundings from the global object. What React's hook adds to the same feed is tested in a browser.
const g = globalThis as any;
let house: House;

beforeEach(() => {
  house = new House();
  const page: Page = house.browser.page(house.server.for(() => page));
  g.window = {};
  g.WebSocket = page.env.WebSocket;
});

afterEach(() => {
  closeNotifications();
  delete g.window;
});

const quiet = async () => {
  await house.world.settle();
  await new Promise((f) => setTimeout(f, 30)); // a change is told within a frame
};

const options = (user: string) => ({ url: `ws://notify.example/ws?user=${user}`, user });

test('reactive items, unread, last and state', async () => {
  const n = useNotifications({ ...options('alice'), limit: 3 });
  await quiet();
  assert.equal(n.state.value, 'open');
  for (const id of ids('a', 1, 5)) house.server.publish(id);
  await quiet();
  assert.deepEqual(n.items.value.map((i) => i.id), ['a-5', 'a-4', 'a-3']);
  assert.equal(n.unread.value, 5);
  assert.equal(n.last.value!.id, 'a-5');
  n.markRead(n.items.value[1]);
  assert.deepEqual(n.items.value.map((i) => i.read), [false, true, false]);
  assert.equal(n.unread.value, 4);
  n.markRead(n.items.value[1]);
  assert.equal(n.unread.value, 4, 'read is read');
  n.markRead();
  assert.equal(n.unread.value, 0);
  assert.ok(n.items.value.every((i) => i.read) && n.last.value!.read);
});

test('one client for all components, which survives them', async () => {
  const scope = effectScope();
  const first = scope.run(() => useNotifications(options('alice')))!;
  const second = useNotifications();
  assert.equal(first.client, second.client);
  await quiet();
  scope.stop();
  house.server.publish('a-1');
  await quiet();
  assert.equal(house.server.sockets.length, 1);
  assert.equal(useNotifications().items.value.length, 1);
});

test('another user has another client, and sees nothing of the first one', async () => {
  const alice = useNotifications(options('alice'));
  await quiet();
  house.server.publish('a-1');
  await quiet();
  closeNotifications();
  const bob = useNotifications({ ...options('bob') });
  await quiet();
  assert.equal(alice.state.value, 'idle');
  assert.equal(bob.items.value.length, 0);
  const carol = useNotifications({ ...options('bob'), user: 'carol' });
  await quiet();
  assert.equal(bob.state.value, 'idle', 'the same url and another user: the one before is closed');
  assert.equal(carol.state.value, 'open');
});

test('a burst is few changes', async () => {
  const n = useNotifications(options('alice'));
  await quiet();
  let changes = 0;
  const { items } = n;
  let before = items.value;
  for (let i = 0; i < 2_000; i++) {
    house.server.publish(`a-${i}`);
    await house.world.settle();
    if (items.value !== before) changes++;
    before = items.value;
  }
  await quiet();
  assert.equal(n.unread.value, 2_000);
  assert.ok(changes < 500, `${changes} changes`);
});

test('on a server nothing connects, and nothing is kept', async () => {
  delete g.window;
  const a = useNotifications(options('alice'));
  const b = useNotifications(options('alice'));
  await quiet();
  assert.notEqual(a.client, b.client);
  assert.equal(a.state.value, 'idle');
  assert.equal(house.server.sockets.length, 0);
  assert.throws(() => useNotifications(), /root component/);
});

test('reset, and new functions of a component that is rendered again', async () => {
  const told: string[] = [];
  useNotifications({ ...options('alice'), onReset: () => void told.push('old') });
  useNotifications({ ...options('alice'), onReset: (r) => void told.push(r.action) });
  await quiet();
  house.server.last.say({ type: 'reset', cursor: 'x' });
  await quiet();
  assert.deepEqual(told, ['reload']);
});
