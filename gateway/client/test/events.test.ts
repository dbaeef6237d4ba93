import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Client } from '../src/client.ts';
import { House, ids } from './tab.ts';

test('on returns its undo; once, off', async () => {
  const house = new House();
  const tab = await house.open();
  const calls: string[] = [];
  const same = (n: any) => void calls.push('same ' + n.id);
  const undo = tab.client.on('notification', (n: any) => void calls.push('undone ' + n.id));
  tab.client.on('notification', same);
  tab.client.on('notification', same);
  tab.client.once('notification', (n: any) => void calls.push('once ' + n.id));
  house.server.publish('a-1');
  await house.world.settle();
  undo();
  undo();
  house.server.publish('a-2');
  await house.world.settle();
  tab.client.off('notification', same);
  house.server.publish('a-3');
  await house.world.settle();
  assert.deepEqual(calls, ['undone a-1', 'same a-1', 'once a-1', 'same a-2']);
});

test('kinds have listeners of their own, and cannot pose as something else', async () => {
  const house = new House();
  const tab = await house.open();
  const client = tab.client as Client<{ 'order.shipped': { orderId: string } }>;
  const orders: string[] = [];
  client.on('order.shipped', (n) => void orders.push(n.data.orderId));
  house.server.publish('a-1', 'alice', 'order.shipped', { orderId: '1042' });
  house.server.publish('a-2', 'alice', 'order.lost', {});
  for (const kind of ['reset', 'state', 'error', 'welcome', 'frame', 'notification', 'constructor', '__proto__']) house.server.publish(kind, 'alice', kind);
  await house.world.settle();
  assert.deepEqual(orders, ['1042']);
  assert.equal(tab.got.length, 10);
  assert.deepEqual([tab.resets.length, tab.errors.length, tab.welcomes.length], [0, 0, 1]);
});

test('frames are shown as they came, even what is none, and hold nothing up', async () => {
  const house = new House();
  const tab = house.tab();
  const frames: string[] = [];
  tab.client.on('frame', ({ text, sent }) => {
    assert.equal(sent, false);
    frames.push(text);
    return new Promise(() => {});
  });
  tab.client.connect();
  await house.world.settle();
  house.server.publish('a-1');
  house.server.beat();
  house.server.last.say({ type: 'draining', retryAfterMs: 100 });
  await house.world.settle();
  assert.deepEqual(
    frames.map((f) => JSON.parse(f).type),
    ['welcome', 'notification', undefined, 'draining'],
  );
  assert.deepEqual(tab.got, ['a-1']);
});

test('listeners of a kind are awaited as well', async () => {
  const house = new House();
  const tab = await house.open();
  let done = () => {};
  tab.client.on('slow', () => new Promise<void>((f) => (done = f)));
  house.server.publish('a-1', 'alice', 'slow');
  house.server.publish('a-2');
  await house.world.settle();
  assert.deepEqual(tab.got, ['a-1']);
  done();
  await house.world.settle();
  assert.deepEqual(tab.got, ['a-1', 'a-2']);
});

test('for await: every notification, handled when the next is asked for', async () => {
  const house = new House();
  const tab = await house.open();
  const got: string[] = [];
  const loop = (async () => {
    for await (const n of tab.client) {
      got.push((n as any).id);
      if (got.length === 1) assert.equal(tab.client.cursor, '0.e.0');
      if (got.length === 4) break;
      if (got.length === 2) await house.world.settle();
    }
  })();
  await house.world.settle();
  for (const id of ids('a', 1, 6)) house.server.publish(id);
  await house.world.settle();
  await loop;
  assert.deepEqual(got, ids('a', 1, 4));
  await house.world.settle();
  assert.deepEqual(tab.got, ids('a', 1, 6), 'the loop that was left holds nothing up');
  assert.equal(tab.client.cursor, '0.e.6');
  let ended = false;
  const second = (async () => {
    for await (const _ of tab.client);
    ended = true;
  })();
  await house.world.settle();
  tab.client.close();
  await second;
  assert.ok(ended);
});
