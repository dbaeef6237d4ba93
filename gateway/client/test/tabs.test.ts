import assert from 'node:assert/strict';
import { test } from 'node:test';
import { tokenOf } from './server.ts';
import { House, ids, Tab } from './tab.ts';

const shared = { sharedTabs: true };

const several = async (house: House, n: number): Promise<Tab[]> => {
  const tabs: Tab[] = [];
  for (let i = 0; i < n; i++) tabs.push(await house.open(shared));
  return tabs;
};

const sockets = (house: House) => house.server.open.filter((s) => s.page.alive).length;

test('one socket, and every tab has everything', async () => {
  const house = new House();
  const tabs = await several(house, 3);
  assert.equal(house.server.sockets.length, 1);
  for (const id of ids('a', 1, 20)) house.server.publish(id);
  house.server.last.say({ type: 'notification', id: 'typing', kind: 'typing' });
  house.server.publish('a-21');
  house.server.beat();
  await house.world.settle();
  for (const tab of tabs) {
    assert.deepEqual(tab.got, [...ids('a', 1, 20), 'typing', 'a-21']);
    assert.equal(tab.client.state, 'open');
    assert.equal(tab.client.cursor, house.server.end);
    assert.equal(tab.client.latency, tabs[0]!.client.latency);
  }
  assert.deepEqual(tabs.map((t) => t.states.at(-1)!.shared), [false, true, true]);
  await house.world.pass(20_000);
  assert.equal(house.server.sockets.length, 1, 'a leader that is there keeps its lock');
});

test('frames are seen where the socket is', async () => {
  const house = new House();
  const tabs = await several(house, 2);
  const seen = tabs.map((tab) => {
    const list: string[] = [];
    tab.client.on('frame', (f: { text: string }) => void list.push(JSON.parse(f.text).id));
    return list;
  });
  house.server.publish('a-1');
  await house.world.settle();
  assert.deepEqual(seen, [['a-1'], []]);
  assert.deepEqual(tabs[1]!.got, ['a-1']);
});

test('a new tab begins where the others are', async () => {
  const house = new House();
  await house.open(shared);
  for (const id of ids('a', 1, 5)) house.server.publish(id);
  await house.world.settle();
  const late = await house.open(shared);
  assert.deepEqual(late.got, []);
  assert.equal(late.client.cursor, '0.e.5');
  house.server.publish('a-6');
  await house.world.settle();
  assert.deepEqual(late.got, ['a-6']);
});

test('all at once', async () => {
  const house = new House();
  const tabs = [1, 2, 3, 4].map(() => house.tab(shared));
  for (const tab of tabs) tab.client.connect();
  await house.world.settle();
  house.server.publish('a-1');
  await house.world.settle();
  assert.equal(house.server.sockets.length, 1);
  for (const tab of tabs) assert.deepEqual(tab.got, ['a-1']);
});

for (const [how, go] of [
  ['is closed', (t: Tab) => (t.page.fire('pagehide'), t.page.crash())],
  ['crashes', (t: Tab) => t.page.crash()],
  ['calls close', (t: Tab) => t.client.close()],
] as const) {
  test(`the leader ${how}: another takes over, nothing is lost`, async () => {
    const house = new House();
    const [leader, ...rest] = await several(house, 3);
    for (const id of ids('a', 1, 5)) house.server.publish(id);
    await house.world.settle();
    house.server.last.live = false;
    go(leader!);
    for (const id of ids('a', 6, 10)) house.server.publish(id);
    await house.world.settle();
    for (const tab of rest) assert.deepEqual(tab.got, ids('a', 1, 10));
    assert.equal(sockets(house), 1);
    assert.equal(house.server.sockets.length, 2);
    await house.world.pass(20_000);
    assert.equal(house.server.sockets.length, 2);
  });
}

test('a leader that is told that it freezes leaves at once, and is back when it wakes', async () => {
  const house = new House();
  const [leader, ...rest] = await several(house, 3);
  leader!.page.document.dispatchEvent(new Event('freeze'));
  leader!.page.frozen = true;
  for (const id of ids('a', 1, 9)) house.server.publish(id);
  await house.world.settle();
  for (const tab of rest) assert.deepEqual(tab.got, ids('a', 1, 9));
  await house.world.pass(10_000);
  leader!.page.thaw();
  leader!.page.document.dispatchEvent(new Event('resume'));
  await house.world.pass(1_000);
  assert.deepEqual(leader!.got, ids('a', 1, 9));
  assert.equal(sockets(house), 1);
});

test('the leader freezes: its lock is stolen, and when it wakes it follows', async () => {
  const house = new House();
  const [leader, ...rest] = await several(house, 3);
  house.server.publish('a-1');
  await house.world.settle();
  leader!.page.frozen = true;
  for (const id of ids('a', 2, 9)) house.server.publish(id);
  await house.world.pass(12_000);
  for (const tab of rest) assert.deepEqual(tab.got, ids('a', 1, 9));
  leader!.page.thaw();
  await house.world.settle();
  house.server.publish('a-10');
  await house.world.settle();
  for (const tab of [leader!, ...rest]) assert.deepEqual(tab.got, ids('a', 1, 10));
  assert.equal(sockets(house), 1);
  await house.world.pass(30_000);
  assert.equal(sockets(house), 1);
  assert.equal(house.server.sockets.length, 2);
});

test('a follower that was frozen has everything when it wakes', async () => {
  const house = new House();
  house.server.heartbeat = 600_000;
  const tabs = await several(house, 2);
  tabs[1]!.page.frozen = true;
  for (const id of ids('a', 1, 3000)) house.server.publish(id);
  await house.world.pass(120_000);
  tabs[1]!.page.thaw();
  await house.world.settle();
  assert.deepEqual(tabs[1]!.got, ids('a', 1, 3000));
  assert.equal(house.server.sockets.length, 1);
});

test('a follower reloads: what it missed comes from the leader, or else over a socket of its own until it meets the others', async () => {
  for (const missed of [0, 5, 3000]) {
    const house = new House();
    house.server.heartbeat = 600_000;
    const tabs = await several(house, 3);
    house.server.publish('a-1');
    await house.world.settle();
    tabs[2]!.page.fire('pagehide');
    const kept = tabs[2]!.page.session;
    tabs[2]!.page.crash();
    for (const id of ids('b', 1, missed)) house.server.publish(id);
    await house.world.pass(60_000);
    house.server.beat();
    await house.world.settle();
    const back = new Tab(house, shared, kept);
    back.client.connect();
    await house.world.pass(5_000);
    assert.deepEqual(back.got, ids('b', 1, missed), `missed ${missed}`);
    house.server.publish('c-1');
    await house.world.pass(5_000);
    house.server.publish('c-2');
    await house.world.settle();
    assert.deepEqual(back.got, [...ids('b', 1, missed), 'c-1', 'c-2']);
    assert.equal(sockets(house), 1, `missed ${missed}`);
    assert.equal(house.server.sockets.length, missed > 2000 ? 2 : 1);
    assert.equal(back.client.state, 'open');
  }
});

test('a word between tabs that is lost is noticed, and made up for', async () => {
  const house = new House();
  const tabs = await several(house, 2);
  const channel = [...house.browser.channels].find((c) => c.page === tabs[1]!.page)!;
  const hear = channel.onmessage!;
  let drop = true;
  channel.onmessage = (e) => {
    if (e.data.say === 'entry' && drop) drop = false;
    else hear(e);
  };
  for (const id of ids('a', 1, 3)) house.server.publish(id);
  await house.world.settle();
  assert.equal(drop, false);
  assert.deepEqual(tabs[1]!.got, ids('a', 1, 3));
  assert.equal(house.server.sockets.length, 1);
});

test('a follower goes on behind what it has had, though its leader has it only now', async () => {
  const house = new House();
  const [first, second] = await several(house, 2);
  for (const id of ids('a', 1, 2)) house.server.publish(id);
  await house.world.settle();
  const third = await house.open(shared);
  second!.page.frozen = true;
  first!.page.crash();
  await house.world.pass(12_000);
  second!.page.thaw();
  await house.world.settle();
  assert.equal(house.server.last.page, third.page);
  house.server.send(house.server.last, 0); // which that server never gave to this tab
  house.server.publish('a-3');
  await house.world.settle();
  assert.deepEqual(second!.got, ids('a', 1, 3));
});

test('reset reaches every tab once', async () => {
  const house = new House();
  const tabs = await several(house, 3);
  house.server.publish('a-1');
  await house.world.settle();
  house.server.drop();
  for (const id of ids('b', 1, 5)) house.server.publish(id);
  house.server.base = 6;
  await house.world.pass(5_000);
  house.server.publish('c-1');
  await house.world.settle();
  for (const tab of tabs) {
    assert.deepEqual(tab.resets, [{ action: 'reload', cursor: '0.e.6', lost: '0.e.1' }]);
    assert.deepEqual(tab.got, ['a-1', 'c-1']);
  }
});

test('followers see the state of the leader, and may ask it to connect anew', async () => {
  const house = new House();
  const tabs = await several(house, 2);
  house.server.greet = (s) => s.end(1006);
  house.server.drop();
  await house.world.settle();
  assert.equal(tabs[1]!.client.state, 'waiting');
  await house.world.pass(60_000);
  house.server.greet = (s) => house.server.welcome(s);
  tabs[1]!.client.reconnect();
  await house.world.settle();
  assert.equal(tabs[1]!.client.state, 'open');
  assert.equal(tabs[1]!.welcomes.length, 1);
});

test('followers that look at their leader do not make it hurry', async () => {
  const house = new House();
  const count = async (n: number) => {
    house.world.pages = [];
    house.browser.locks.clear();
    house.browser.channels.clear();
    house.world.random = () => 0.99;
    house.server.greet = (s) => s.end(1006);
    const before = house.server.sockets.length;
    for (let i = 0; i < n; i++) house.tab({ ...shared, sse: false }).client.connect();
    await house.world.pass(300_000);
    return house.server.sockets.length - before;
  };
  assert.equal(await count(4), await count(1));
});

test('a leader that is signed out leaves, and the next tab tries for itself', async () => {
  const house = new House();
  let good = true;
  const getToken = () => {
    if (good) return tokenOf('alice');
    throw Object.assign(new Error('signed out'), { name: 'UnauthorizedError' });
  };
  const first = await house.open({ ...shared, getToken });
  const second = await house.open({ ...shared, getToken: () => tokenOf('alice') });
  good = false;
  house.server.drop();
  await house.world.pass(5_000);
  assert.equal(first.client.state, 'idle');
  assert.equal(second.client.state, 'open');
  house.server.publish('a-1');
  await house.world.settle();
  assert.deepEqual([first.got, second.got], [[], ['a-1']]);
});

test('two users in one browser share nothing', async () => {
  const house = new House();
  const bob = { ...shared, user: 'bob', url: 'wss://notify.example/ws?user=bob' };
  const tabs = [await house.open(shared), await house.open(bob), await house.open(shared), await house.open(bob)];
  house.server.publish('a-1');
  house.server.publish('b-1', 'bob');
  await house.world.settle();
  assert.deepEqual(tabs.map((t) => t.got), [['a-1'], ['b-1'], ['a-1'], ['b-1']]);
  assert.equal(house.server.sockets.length, 2);
});

test('without locks, or without a known user, each tab has its socket', async () => {
  const house = new House();
  const a = house.tab(shared);
  a.page.navigator.locks = undefined;
  const b = house.tab({ ...shared, user: undefined });
  const c = house.tab(shared);
  c.page.env.BroadcastChannel = undefined;
  const d = house.tab(shared);
  d.page.navigator.locks = { request: () => Promise.reject(new Error('SecurityError')) } as any;
  for (const tab of [a, b, c, d]) tab.client.connect();
  await house.world.settle();
  house.server.publish('a-1');
  await house.world.settle();
  for (const tab of [a, b, c, d]) assert.deepEqual(tab.got, ['a-1']);
  assert.equal(house.server.sockets.length, 4);
});

/** A small generator of random numbers, so that what failed can be seen again. */
const dice = (seed: number) => () => {
  seed = (seed + 0x6d2b79f5) | 0;
  let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
};

test('strife: whatever happens to tabs, server and network, in whatever order, each tab has everything once', async () => {
  const runs = Number(process.env.STRIFE ?? 150);
  for (let seed = 1; seed <= runs; seed++) {
    const random = dice(seed);
    const house = new House();
    house.world.random = random;
    house.world.choose = (n) => Math.floor(random() * n);
    house.server.heartbeat = 5_000;
    let tabs: { tab: Tab; from: number; before: string[] }[] = [];
    let n = 0;
    const all: string[] = [];
    const add = (from: number, before: string[], session?: any) => {
      const tab = new Tab(house, shared, session);
      tabs.push({ tab, from, before });
      if (random() < 0.3) tab.client.on('notification', () => Promise.resolve());
      tab.client.connect();
    };
    const any = () => tabs[Math.floor(random() * tabs.length)];
    const pass = (ms: number) => house.world.pass(ms);
    for (let i = 0; i < 3; i++) add(-1, []);
    await pass(500);
    for (let step = 0; step < 60; step++) {
      const t = any();
      switch (Math.floor(random() * 12)) {
        case 0:
          if (t && random() < 0.5 && tabs.length > 1) {
            t.tab.page.crash();
            tabs = tabs.filter((x) => x !== t);
          }
          break;
        case 1:
          if (t && !t.tab.page.frozen) {
            // A reload, politely or by a crash; listeners that were at it are not done.
            const { session } = t.tab.page;
            if (random() < 0.5) t.tab.page.fire('pagehide');
            t.tab.page.crash();
            tabs = tabs.filter((x) => x !== t);
            if (session.map.size && t.from >= 0) add(t.from, [...t.before, ...t.tab.got], session);
          }
          break;
        case 2:
          if (t) t.tab.page.frozen = true;
          break;
        case 3:
          for (const x of tabs) x.tab.page.thaw();
          break;
        case 4:
          house.server.drop();
          break;
        case 5:
          if (tabs.length < 5) add(-1, []);
          break;
        case 6:
          house.server.beat();
          break;
        case 7:
          await pass(random() * 15_000);
          break;
        case 8:
          {
            const s = house.server.open[0]; // a server that repeats itself
            if (s?.given.length) house.server.send(s, s.given[Math.floor(random() * s.given.length)]!);
          }
          break;
        default:
          for (let k = random() * 30; k > 0; k--) {
            const id = `e-${++n}`;
            all.push(id);
            house.server.publish(id);
          }
      }
      if (random() < 0.6) await pass(random() * 300);
      // A tab that has a position owes everything from there on.
      for (const x of tabs) if (x.from < 0 && x.tab.client.cursor !== undefined) x.from = x.tab.got.length ? all.indexOf(x.tab.got[0]!) : Number(x.tab.client.cursor.slice(4));
    }
    for (const x of tabs) x.tab.page.thaw();
    await pass(60_000);
    if (!tabs.length) add(-1, []);
    await pass(5_000);
    house.server.publish('last');
    all.push('last');
    await pass(60_000);
    const picture = () =>
      tabs.map(({ tab: { client } }) => {
        const { _leader, _id, _synced, _alone, _missed, _ring, leading } = (client as any)._tabs ?? {};
        return { state: client.state, tail: (client as any)._line.tail, own: (client as any)._connection.state, leading, _id, _leader, _synced, _alone, _missed, ring: _ring?.length };
      });
    for (const x of tabs) {
      const got = [...x.before, ...x.tab.got];
      const from = x.from < 0 ? all.indexOf(got[0]!) : x.from;
      if (process.env.SHOW && JSON.stringify(got) !== JSON.stringify(all.slice(from))) console.log(got.length, all.slice(from).length, picture());
      assert.deepEqual(got, all.slice(from), `seed ${seed}`);
      assert.deepEqual(x.tab.errors, [], `seed ${seed}`);
    }
    const held = house.server.open.filter((s) => s.page.alive);
    if (process.env.SHOW && held.length !== 1) console.log(picture(), held.map((h) => h.page.tasks.length));
    assert.equal(held.length, 1, `seed ${seed}: sockets of ${tabs.length} tabs`);
  }
});
