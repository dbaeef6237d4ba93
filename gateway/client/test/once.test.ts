import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tokenOf } from './server.ts';
import { House, ids, Tab } from './tab.ts';
import { FakeStorage } from './world.ts';

test('everything missed comes once, in order', async () => {
  const house = new House();
  const tab = await house.open();
  house.server.publish('a-1');
  house.server.publish('other', 'bob');
  await house.world.settle();
  house.server.drop();
  for (const id of ids('a', 2, 50)) house.server.publish(id);
  await house.world.pass(1_000);
  house.server.publish('a-51');
  await house.world.settle();
  assert.deepEqual(tab.got, ids('a', 1, 51));
  assert.equal(house.server.last.url.searchParams.get('cursor'), '0.e.1');
  assert.equal(tab.client.cursor, house.server.end);
});

test('a server that repeats and goes back', async () => {
  const house = new House();
  const tab = await house.open();
  for (const id of ids('a', 1, 5)) house.server.publish(id);
  for (const i of [0, 1, 4, 4, 2]) house.server.send(house.server.last, i);
  house.server.publish('a-6');
  await house.world.settle();
  assert.deepEqual(tab.got, ids('a', 1, 6));
  assert.equal(tab.client.cursor, house.server.end, 'the position does not go back');
  house.server.drop();
  await house.world.pass(1_000);
  house.server.send(house.server.last, 3);
  await house.world.settle();
  assert.deepEqual(tab.got, ids('a', 1, 6), 'also on the next connection');
});

test('the memory of what was had is bounded, and long enough', async () => {
  const house = new House();
  const tab = await house.open();
  for (const id of ids('a', 1, 20_000)) house.server.publish(id);
  await house.world.pass(1_000);
  for (const i of [20_000 - 4096, 19_999]) house.server.send(house.server.last, i);
  await house.world.settle();
  assert.equal(tab.got.length, 20_000);
  const { _seen, _seenBefore } = (tab.client as any)._line;
  assert.ok(_seen.size + _seenBefore.size <= 8192);
});

test('heartbeats move the cursor, a welcome with complete does not', async () => {
  const house = new House();
  const tab = await house.open();
  assert.equal(tab.client.cursor, '0.e.0');
  for (const id of ids('b', 1, 3)) house.server.publish(id, 'bob');
  house.server.beat();
  await house.world.settle();
  assert.equal(tab.client.cursor, '0.e.3');
  house.server.drop();
  house.server.greet = (s) => {
    s.open();
    s.say({ type: 'welcome', session: 's', cursor: '0.e.99', resume: 'complete', heartbeat: 25_000 });
  };
  await house.world.pass(1_000);
  assert.equal(tab.client.cursor, '0.e.3');
});

test('the cursor is taken when the listeners are done', async () => {
  const house = new House();
  const tab = await house.open();
  const done: (() => void)[] = [];
  const seen: string[] = [];
  tab.client.on('notification', (n: any) => {
    seen.push(n.id);
    return new Promise<void>((f) => done.push(f));
  });
  for (const id of ids('a', 1, 3)) house.server.publish(id);
  await house.world.settle();
  assert.deepEqual(seen, ['a-1']);
  assert.equal(tab.client.cursor, '0.e.0');
  assert.deepEqual([...tab.page.session.map.values()], ['0.e.0']);
  house.server.drop();
  await house.world.pass(1_000);
  assert.equal(house.server.last.url.searchParams.get('cursor'), '0.e.3', 'what waits is not asked for again');
  const again = tab.reload();
  again.client.connect();
  await house.world.settle();
  assert.deepEqual(again.got, ids('a', 1, 3), 'a page that died in between has it again');
});

test('what waits for a listener survives close and connect', async () => {
  const house = new House();
  const tab = await house.open();
  const seen: string[] = [];
  let done = () => {};
  tab.client.on('notification', (n: any) => {
    seen.push(n.id);
    if (n.id === 'a-2') return new Promise<void>((f) => (done = f));
    return undefined;
  });
  for (const id of ids('a', 1, 4)) house.server.publish(id);
  await house.world.settle();
  tab.client.close();
  done();
  await house.world.settle();
  assert.deepEqual(seen, ids('a', 1, 2));
  tab.client.connect();
  await house.world.settle();
  assert.deepEqual(seen, ids('a', 1, 4));
});

test('a listener that throws or rejects is reported, and stops nothing', async () => {
  const house = new House();
  const tab = house.tab();
  tab.client.on('notification', () => {
    throw new Error('thrown');
  });
  tab.client.on('notification', () => Promise.reject(new Error('rejected')));
  tab.client.on('error', () => {
    throw new Error('even here');
  });
  const late: string[] = [];
  tab.client.on('notification', (n: any) => void late.push(n.id));
  const said: unknown[] = [];
  const { error } = console;
  console.error = (...args) => void said.push(args);
  tab.client.connect();
  await house.world.settle();
  for (const id of ids('a', 1, 3)) house.server.publish(id);
  await house.world.settle();
  console.error = error;
  assert.deepEqual(tab.got, ids('a', 1, 3));
  assert.deepEqual(late, ids('a', 1, 3));
  assert.deepEqual(tab.errors.map((e) => e.message).sort(), ['rejected', 'rejected', 'rejected', 'thrown', 'thrown', 'thrown']);
  assert.equal(said.length, 6);
  assert.equal(tab.client.cursor, '0.e.3');
});

test('a reload goes on from the cursor, another user does not', async () => {
  const house = new House();
  let tab = await house.open();
  house.server.publish('a-1');
  await house.world.settle();
  house.server.publish('b-1', 'bob');
  tab.page.fire('pagehide');
  house.server.publish('a-2');
  house.server.publish('b-2', 'bob');
  tab = tab.reload();
  tab.client.connect();
  await house.world.settle();
  assert.deepEqual(tab.got, ['a-2']);
  const bob = new Tab(house, { user: 'bob', url: 'wss://notify.example/ws?user=bob' }, tab.page.session);
  bob.client.connect();
  await house.world.settle();
  assert.equal(bob.client.cursor, house.server.end);
  assert.equal(house.server.last.url.searchParams.get('cursor'), null);
  house.server.publish('b-3', 'bob');
  await house.world.settle();
  assert.deepEqual(bob.got, ['b-3']);
  const elsewhere = new Tab(house, { url: 'wss://other.example/ws' }, tab.page.session);
  assert.equal(elsewhere.client.cursor, undefined, 'another gateway');
});

test('localStorage: a new tab goes on where the last one was, each tab from its own place', async () => {
  const house = new House();
  const storage = house.browser.local;
  const first = await house.open({ storage });
  house.server.publish('a-1');
  await house.world.settle();
  first.page.fire('pagehide');
  house.server.publish('a-2');
  const second = await house.open({ storage });
  assert.deepEqual(second.got, ['a-2']);
  const again = first.reload({ storage });
  again.client.connect();
  await house.world.settle();
  assert.deepEqual(again.got, ['a-2'], 'not from where the second one is');
});

test('storage that fails, or is not wanted, or belongs to nobody', async () => {
  const house = new House();
  const broken = new FakeStorage();
  broken.setItem = () => {
    throw new Error('QuotaExceededError');
  };
  broken.getItem = () => {
    throw new Error('SecurityError');
  };
  const tab = new Tab(house, {}, broken);
  tab.client.connect();
  await house.world.settle();
  house.server.publish('a-1');
  house.server.drop();
  await house.world.pass(1_000);
  assert.deepEqual(tab.got, ['a-1']);
  const off = await house.open({ storage: null });
  assert.equal(off.page.session.map.size, 0);
  const nobody = await house.open({ user: undefined });
  assert.equal(nobody.client.state, 'open');
  assert.equal(nobody.page.session.map.size, 0);
});

test('another user in the same page has a line of their own', async () => {
  const house = new House();
  let who = 'alice';
  const tab = await house.open({ user: undefined, getToken: () => tokenOf(who) });
  let done = () => {};
  tab.client.on('notification', () => new Promise<void>((f) => (done = f)));
  house.server.publish('a-1');
  house.server.publish('a-2');
  await house.world.settle();
  who = 'bob';
  house.server.drop();
  await house.world.pass(1_000);
  assert.equal(house.server.last.url.searchParams.get('cursor'), null);
  done();
  house.server.publish('b-1', 'bob');
  await house.world.settle();
  assert.deepEqual(tab.got, ['a-1', 'b-1'], 'what waited for alice is not shown to bob');
  done();
  await house.world.settle();
  who = 'alice';
  house.server.drop();
  await house.world.pass(1_000);
  assert.equal(tab.got.at(-1), 'a-2', 'alice goes on where she was');
});

test('a token of another user than the one named stops', async () => {
  const house = new House();
  const tab = await house.open({ getToken: () => tokenOf('bob') });
  assert.equal(tab.client.state, 'idle');
  assert.match(tab.errors[0]!.message, /of bob, not of alice/);
  assert.equal(house.server.sockets.length, 0);
});

test('reset, at the welcome and later, says what to do', async () => {
  const house = new House();
  const tab = await house.open();
  house.server.publish('a-1');
  await house.world.settle();
  house.server.drop();
  for (const id of ids('a', 2, 9)) house.server.publish(id);
  house.server.base = 5;
  await house.world.pass(1_000);
  assert.deepEqual(tab.resets, [{ action: 'reload', cursor: '0.e.9', lost: '0.e.1' }]);
  house.server.last.say({ type: 'reset', cursor: '0.f.3' });
  await house.world.settle();
  assert.equal(tab.resets.length, 2);
  assert.equal(tab.client.cursor, '0.f.3');
  assert.equal(tab.client.state, 'open');
  house.server.drop();
  house.server.greet = (s) => {
    s.open();
    s.say({ type: 'welcome', session: 's', cursor: '0.g.1', resume: 'none', heartbeat: 25_000 });
  };
  await house.world.pass(1_000);
  assert.equal(tab.resets.length, 3, 'who is welcomed as new has missed something');
});

test('a reset is told again to a page that dies before it has loaded its state', async () => {
  const house = new House();
  let tab = await house.open();
  tab.client.on('reset', () => new Promise(() => {}));
  house.server.publish('a-1');
  house.server.base = 1;
  house.server.drop();
  house.server.last.live = false;
  tab.page.session.setItem([...tab.page.session.map.keys()][0]!, '0.e.0');
  tab = tab.reload();
  tab.client.on('reset', () => new Promise(() => {}));
  tab.client.connect();
  await house.world.settle();
  assert.equal(tab.resets.length, 1);
  tab = tab.reload();
  tab.client.connect();
  await house.world.settle();
  assert.equal(tab.resets.length, 1);
  assert.equal(tab.client.cursor, house.server.end);
});

test('10,000 at once: in slices, so that the page stays responsive', async () => {
  const house = new House();
  const tab = await house.open();
  let release = () => {};
  let longest = 0;
  let began = house.world.now;
  tab.client.on('notification', (n: any) => {
    house.world.now += 1; // ms that the page needs for one
    longest = Math.max(longest, house.world.now - began);
    if (n.id === 'first') return new Promise<void>((f) => (release = f));
    return undefined;
  });
  house.server.publish('first');
  for (const id of ids('a', 1, 10_000)) house.server.publish(id);
  await house.world.settle();
  began = house.world.now;
  release();
  const { setTimeout } = tab.page.env;
  tab.page.env.setTimeout = (f, ms) => setTimeout(() => ((began = house.world.now), f()), ms);
  await house.world.pass(60_000);
  assert.deepEqual(tab.got, ['first', ...ids('a', 1, 10_000)]);
  assert.ok(longest < 60, `${longest} ms in a row`);
});
