import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UnauthorizedError } from '../src/errors.ts';
import { tokenOf } from './server.ts';
import { House, ids } from './tab.ts';

test('idle until connect, then connecting, open', async () => {
  const house = new House();
  const tab = house.tab();
  await house.world.settle();
  assert.equal(tab.client.state, 'idle');
  assert.equal(house.server.sockets.length, 0);
  tab.client.connect();
  tab.client.connect();
  assert.equal(tab.client.state, 'connecting');
  await house.world.settle();
  assert.equal(tab.client.state, 'open');
  assert.equal(house.server.sockets.length, 1);
  assert.deepEqual(tab.states.map((s) => s.state), ['connecting', 'open']);
  assert.equal(tab.welcomes[0].resume, 'none');
  assert.deepEqual(house.server.last.protocols, ['tidings.v1']);
});

test('close codes decide whether to come back', async () => {
  for (const [code, state, errors] of [
    [1000, 'waiting', 0],
    [1002, 'idle', 1],
    [1006, 'waiting', 0],
    [1008, 'waiting', 0],
    [1009, 'idle', 1],
    [1011, 'waiting', 0],
    [1013, 'waiting', 0],
    [4008, 'waiting', 0],
    [4401, 'waiting', 1],
    [4403, 'idle', 1],
    [4408, 'waiting', 0],
    [4429, 'waiting', 0],
  ] as const) {
    const house = new House();
    const tab = await house.open();
    house.server.last.end(code, 'on purpose');
    await house.world.settle();
    assert.equal(tab.client.state, state, String(code));
    assert.equal(tab.errors.length, errors, String(code));
    if (errors) assert.equal((tab.errors[0] as any).code, code);
    await house.world.pass(30_000);
    assert.equal(tab.client.state, state === 'idle' ? 'idle' : 'open', String(code));
    assert.equal(house.server.sockets.length, state === 'idle' ? 1 : 2, String(code));
  }
});

test('the delay grows, is jittered, and is longer where the code says so', async () => {
  const delays = async (code: number, random: number) => {
    const house = new House();
    house.world.random = () => random;
    const tab = await house.open({ sse: false });
    house.server.greet = (s) => s.end(code);
    house.server.drop();
    await house.world.settle();
    const list: number[] = [];
    for (let i = 0; i < 8; i++) {
      list.push(tab.states[tab.states.length - 1]!.retryAt! - house.world.now);
      await house.world.pass(list[i]!);
    }
    return list;
  };
  assert.deepEqual(await delays(1006, 0.5), [250, 500, 1000, 2000, 4000, 8000, 15_000, 15_000]);
  assert.deepEqual(await delays(1006, 0.1), [50, 100, 200, 400, 800, 1600, 3000, 3000]);
  assert.deepEqual((await delays(4429, 0.5)).slice(1), [10_500, 11_000, 12_000, 14_000, 18_000, 25_000, 25_000]);
  assert.deepEqual((await delays(1013, 0.5)).slice(1), [4000, 8000, 15_000, 15_000, 15_000, 15_000, 15_000]);
});

test('attempts are counted anew only after a connection has lived', async () => {
  for (const [lived, want] of [
    [9_999, 8_000],
    [10_000, 250],
  ] as const) {
    const house = new House();
    const tab = await house.open({ sse: false });
    house.server.greet = (s) => s.end(1006);
    house.server.drop();
    await house.world.pass(250 + 500 + 1000 + 2000);
    assert.equal(house.server.sockets.length, 5);
    house.server.greet = (s) => house.server.welcome(s);
    await house.world.pass(4000);
    assert.equal(tab.client.state, 'open');
    await house.world.pass(lived);
    house.server.drop();
    await house.world.settle();
    assert.equal(tab.states.at(-1)!.retryAt! - house.world.now, want, `lived ${lived}`);
  }
});

test('a draining server names the delay, and nothing shortens it', async () => {
  const house = new House();
  const tab = await house.open();
  house.server.last.say({ type: 'draining', retryAfterMs: 3200 });
  await house.world.settle();
  assert.equal(tab.client.state, 'open');
  house.server.last.end(1012);
  await house.world.pass(3199);
  tab.page.online(true);
  tab.page.show('visible');
  await house.world.settle();
  assert.equal(house.server.sockets.length, 1);
  await house.world.pass(1);
  assert.equal(house.server.sockets.length, 2);
  for (const lie of ['soon', -5, NaN, null, {}, 1e300]) {
    house.server.last.say({ type: 'draining', retryAfterMs: lie });
    house.server.last.end(1012);
    await house.world.pass(301_000);
    assert.equal(tab.client.state, 'open', String(lie));
  }
});

test('an overloaded server names the delay before any welcome', async () => {
  const house = new House();
  const welcome = house.server.greet;
  house.server.greet = (s) => s.open();
  const tab = house.tab();
  tab.client.connect();
  await house.world.settle();
  house.server.last.say({ type: 'overloaded', retryAfterMs: 7000 });
  house.server.last.end(1013);
  await house.world.pass(6999);
  assert.equal(house.server.sockets.length, 1);
  house.server.greet = welcome;
  await house.world.pass(1);
  assert.equal(house.server.sockets.length, 2);
  assert.equal(tab.client.state, 'open');
});

test('silence, judged by arrivals', async () => {
  const house = new House();
  const tab = await house.open();
  await house.world.pass(30_000);
  house.server.beat();
  await house.world.pass(54_999);
  assert.equal(tab.client.state, 'open');
  await house.world.pass(1);
  assert.equal(tab.client.state, 'waiting');
  assert.ok(house.server.sockets[0]!.closed);
  house.server.heartbeat = 1_000;
  await house.world.pass(300);
  assert.equal(tab.client.state, 'open');
  await house.world.pass(7_000);
  assert.equal(tab.client.state, 'waiting', 'the welcome says how long');
});

test('an attempt that stalls is given up', async () => {
  const house = new House();
  house.server.greet = (s) => s.open();
  const tab = await house.open({ connectTimeout: 3_000 });
  await house.world.pass(2_999);
  assert.equal(tab.client.state, 'connecting');
  await house.world.pass(1);
  assert.equal(tab.client.state, 'waiting');
  const stalled = house.server.sockets[0]!;
  stalled.closed = false; // a late welcome of an attempt that is over
  house.server.welcome(stalled);
  await house.world.settle();
  assert.equal(tab.client.state, 'waiting');
});

test('sleep: one attempt behind it, whatever the page is told', async () => {
  const house = new House();
  const tab = await house.open();
  house.world.sleep(8 * 3_600_000);
  tab.page.online(true);
  tab.page.show('visible');
  tab.page.fire('online');
  house.server.greet = () => {};
  for (let i = 0; i < 50; i++) {
    tab.page.show('hidden');
    tab.page.show('visible');
    tab.page.online(true);
    await house.world.pass(20);
  }
  assert.equal(house.server.sockets.length, 2);
  assert.equal(tab.client.state, 'connecting');
});

test('a server that is away: waking the page does not make a storm', async () => {
  const house = new House();
  house.world.random = () => 0.99;
  const tab = await house.open({ sse: false });
  house.server.greet = (s) => s.end(1006);
  house.server.drop();
  await house.world.pass(60_000);
  const before = house.server.sockets.length;
  for (let i = 0; i < 600; i++) {
    tab.page.show('visible');
    await house.world.pass(100);
  }
  const tries = house.server.sockets.length - before;
  assert.ok(tries <= 13, `${tries} attempts in a minute`);
});

test('offline waits, online dials at once', async () => {
  const house = new House();
  const tab = await house.open();
  tab.page.online(false);
  house.server.greet = (s) => s.end(1006);
  house.server.drop();
  await house.world.pass(29_000);
  assert.equal(house.server.sockets.length, 1);
  house.server.greet = (s) => house.server.welcome(s);
  tab.page.online(true);
  await house.world.settle();
  assert.equal(tab.client.state, 'open');
  tab.page.online(false);
  tab.page.online(true);
  await house.world.pass(500);
  assert.equal(house.server.sockets.length, 3, 'the network may be another one');
});

test('getToken: its failure is a failed attempt, UnauthorizedError stops', async () => {
  const house = new House();
  let answer: () => string | Promise<string> = () => Promise.reject(new Error('the issuer is away'));
  let calls = 0;
  const tab = await house.open({ getToken: () => (calls++, answer()) });
  assert.equal(tab.client.state, 'waiting');
  assert.equal(tab.errors[0]!.message, 'the issuer is away');
  await house.world.pass(250);
  assert.equal(calls, 2);
  answer = () => {
    throw new Error('thrown, not rejected');
  };
  await house.world.pass(500);
  assert.equal(tab.client.state, 'waiting');
  answer = () => new Promise(() => {});
  await house.world.pass(1_000);
  assert.equal(tab.client.state, 'connecting');
  answer = () => tokenOf('alice');
  await house.world.pass(10_000 + 2_000);
  assert.equal(tab.client.state, 'open', 'one that never answers is given up');
  assert.deepEqual(house.server.last.protocols, ['tidings.v1', 'bearer.' + tokenOf('alice')]);
  answer = () => Promise.reject(new UnauthorizedError('signed out'));
  house.server.drop();
  await house.world.pass(60_000);
  assert.equal(tab.client.state, 'idle');
  assert.equal(tab.errors.at(-1)!.name, 'UnauthorizedError');
  answer = () => tokenOf('alice');
  tab.client.connect();
  await house.world.settle();
  assert.equal(tab.client.state, 'open');
});

test('an attempt that is over may fail as it likes', async () => {
  const house = new House();
  let fail = (_: Error) => {};
  const tab = await house.open({ getToken: () => new Promise((_, reject) => (fail = reject)) });
  tab.client.close();
  fail(new UnauthorizedError('too late'));
  await house.world.settle();
  assert.equal(tab.client.state, 'idle');
  assert.deepEqual(tab.errors, []);
  let give = (_: string) => {};
  const other = await house.open({ getToken: () => new Promise((f) => (give = f)) });
  other.client.close();
  give(tokenOf('alice'));
  await house.world.settle();
  assert.equal(house.server.sockets.length, 0);
});

test('4401: a new token at once, and when that is refused too, with back-off and an error', async () => {
  const house = new House();
  const asked: boolean[] = [];
  const tab = await house.open({ getToken: ({ refused }) => (asked.push(refused), tokenOf('alice')) });
  house.server.last.end(4401, 'the token has expired');
  await house.world.settle();
  assert.equal(tab.client.state, 'open');
  assert.equal(tab.errors.length, 0);
  assert.deepEqual(asked, [false, true]);
  house.server.greet = (s) => s.end(4401);
  house.server.drop();
  await house.world.pass(20_000);
  assert.ok(asked.length < 10, `asked ${asked.length} times in 20 s`);
  assert.equal((tab.errors[0] as any).code, 4401);
});

test('welcomed and refused in turn is no storm', async () => {
  const house = new House();
  house.server.greet = (s) => {
    house.server.welcome(s);
    s.end(4401);
  };
  await house.open({ getToken: () => tokenOf('alice') });
  await house.world.pass(10_000);
  assert.ok(house.server.sockets.length < 10, `${house.server.sockets.length} attempts in 10 s`);
});

test('a token is renewed on the open connection', async () => {
  const house = new House();
  let n = 0;
  const token = () => {
    const s = house.world.now / 1000;
    return tokenOf('alice', { exp: s + 300, iat: s, n: ++n });
  };
  let answer: () => string | Promise<string> = token;
  const tab = await house.open({ getToken: () => answer() });
  const sent: string[] = [];
  tab.client.on('frame', (f: { text: string; sent: boolean }) => void (f.sent && sent.push(f.text)));
  const beat = async (ms: number) => {
    for (let t = 0; t < ms; t += 20_000) {
      house.server.beat();
      await house.world.pass(20_000);
    }
  };
  await beat(220_000);
  assert.equal(house.server.last.sent.length, 0);
  await beat(40_000);
  assert.equal(house.server.sockets.length, 1);
  assert.equal(house.server.last.sent[0].type, 'auth');
  assert.deepEqual(sent.map((text) => JSON.parse(text)), house.server.last.sent);
  assert.equal(n, 2);
  answer = () => Promise.reject(new Error('away'));
  await beat(260_000);
  assert.equal(tab.client.state, 'open', 'the one before is still good');
  assert.ok(tab.errors.length > 0);
  answer = token;
  await beat(40_000);
  assert.equal(house.server.last.sent.length, 2);
  assert.equal(house.server.sockets.length, 1);
});

test('a server that speaks nonsense is left, and nothing is lost', async () => {
  for (const nonsense of ['{', '5', 'null', '""', '\u0000', '[']) {
    const house = new House();
    const tab = await house.open();
    house.server.publish('a-1');
    house.server.last.say(nonsense);
    house.server.publish('a-2');
    await house.world.pass(1_000);
    assert.equal(tab.client.state, 'open', nonsense);
    assert.deepEqual(tab.got, ids('a', 1, 2), nonsense);
  }
  const house = new House();
  const tab = await house.open();
  house.server.last.say({ type: 'from a newer server', cursor: 'x' });
  house.server.last.say({ type: 'notification', id: 'no cursor', kind: 'typing' });
  house.server.publish('a-1');
  await house.world.settle();
  assert.deepEqual(tab.got, ['no cursor', 'a-1']);
  assert.equal(house.server.sockets.length, 1);
});

test('a frame before the welcome is not taken for one behind it', async () => {
  const house = new House();
  const greet = house.server.greet;
  house.server.greet = (s) => {
    s.open();
    s.say({ type: 'notification', cursor: 'x', id: 'early', kind: 'test' });
  };
  const tab = await house.open();
  assert.equal(tab.client.state, 'waiting');
  house.server.greet = greet;
  await house.world.pass(1_000);
  assert.deepEqual(tab.got, []);
});

test('close leaves nothing behind, and connect goes on', async () => {
  const house = new House();
  const tab = await house.open();
  house.server.publish('a-1');
  await house.world.settle();
  tab.client.close();
  assert.equal(tab.client.state, 'idle');
  assert.equal(tab.page.timers.size, 0);
  house.server.publish('a-2');
  tab.page.online(true);
  await house.world.pass(120_000);
  assert.equal(house.server.sockets.length, 1);
  tab.client.connect();
  house.server.publish('a-3');
  await house.world.settle();
  assert.deepEqual(tab.got, ids('a', 1, 3));
  tab.client.reconnect();
  await house.world.settle();
  assert.equal(house.server.sockets.length, 3);
  assert.ok(house.server.sockets[1]!.closed);
});

test('a page in the back-forward cache holds no socket, and comes back', async () => {
  const house = new House();
  const tab = await house.open();
  tab.page.fire('pagehide');
  assert.equal(tab.client.state, 'idle');
  assert.ok(house.server.last.closed);
  house.server.publish('a-1');
  tab.page.online(true);
  tab.page.show('visible');
  await house.world.pass(60_000);
  assert.equal(house.server.sockets.length, 1);
  tab.page.fire('pageshow');
  await house.world.settle();
  assert.deepEqual(tab.got, ['a-1']);
});

test('latency is the time from the request to the welcome', async () => {
  const house = new House();
  house.server.greet = () => {};
  const tab = await house.open();
  await house.world.pass(120);
  house.server.welcome(house.server.last);
  await house.world.settle();
  assert.equal(tab.client.latency, 120);
});
