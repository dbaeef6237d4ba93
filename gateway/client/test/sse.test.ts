import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type FakeStream, tokenOf } from './server.ts';
import { House, ids, type Tab } from './tab.ts';

/** A network that lets HTTP through and no WebSocket. */
const blocked = (house: House) => {
  house.server.greet = (s) => s.end(1006);
  house.server.sse = (s) => house.server.welcome(s);
};

const until = async (house: House, f: () => boolean) => {
  for (let i = 0; i < 50 && !f(); i++) await house.world.pass(20);
};

const open = async (house: House, options = {}): Promise<Tab> => {
  const tab = await house.open(options);
  await house.world.pass(1_000);
  await until(house, () => tab.client.state === 'open');
  return tab;
};

const last = (house: House): FakeStream => house.server.streams[house.server.streams.length - 1]!;

test('HTTP is taken when WebSocket failed to open twice, and the state says so', async () => {
  const house = new House();
  blocked(house);
  const tab = await open(house, { getToken: () => tokenOf('alice') });
  assert.equal(tab.client.state, 'open');
  assert.equal(tab.client.transport, 'sse');
  assert.equal(tab.states.at(-1)!.transport, 'sse');
  assert.equal(house.server.sockets.length, 2);
  const { url, token } = last(house);
  assert.equal(url.origin + url.pathname, 'https://notify.example/sse');
  assert.equal(token, tokenOf('alice'));
  for (const id of ids('a', 1, 3)) house.server.publish(id);
  house.server.beat();
  await until(house, () => tab.got.length === 3);
  assert.deepEqual(tab.got, ids('a', 1, 3));
});

test('WebSocket that opens once is not blocked', async () => {
  const house = new House();
  const tab = await house.open();
  blocked(house);
  house.server.greet = (s) => {
    s.open();
    s.end(1011);
  };
  house.server.drop();
  await house.world.pass(120_000);
  assert.equal(house.server.streams.length, 0);
  assert.equal(tab.client.transport, 'websocket');
});

test('where HTTP does not work either, WebSocket is tried again', async () => {
  const house = new House();
  blocked(house);
  house.server.sse = (s) => s.status(502);
  const tab = await house.open();
  for (let i = 0; i < 60; i++) await house.world.pass(1_000);
  const { sockets, streams } = house.server;
  assert.ok(streams.length >= 2 && sockets.length >= 2 * streams.length, `${sockets.length} sockets, ${streams.length} streams`);
  house.server.greet = (s) => house.server.welcome(s);
  for (let i = 0; i < 60; i++) await house.world.pass(1_000);
  assert.equal(tab.client.state, 'open');
  assert.equal(tab.client.transport, 'websocket');
});

test('sse: false', async () => {
  const house = new House();
  blocked(house);
  await house.open({ sse: false });
  for (let i = 0; i < 60; i++) await house.world.pass(1_000);
  assert.equal(house.server.streams.length, 0);
});

test('the same cursor on either way: nothing is lost, nothing comes twice', async () => {
  const house = new House();
  const tab = await house.open();
  house.server.publish('a-1');
  await house.world.settle();
  blocked(house);
  house.server.drop();
  house.server.publish('a-2');
  await house.world.pass(2_000);
  await until(house, () => tab.got.length === 2);
  assert.equal(tab.client.transport, 'sse');
  house.server.publish('a-3');
  await until(house, () => tab.got.length === 3);
  house.server.beat();
  for (let i = 0; i < 4; i++) {
    await house.world.pass(20_000);
    house.server.beat();
    await until(house, () => false);
  }
  house.server.greet = (s) => house.server.welcome(s);
  last(house).end(1006);
  house.server.publish('a-4');
  await until(house, () => tab.client.transport === 'websocket' && tab.client.state === 'open');
  await until(house, () => tab.got.length === 4);
  assert.equal(tab.client.transport, 'websocket', 'it looks again whether WebSocket works');
  assert.deepEqual(tab.got, ids('a', 1, 4));
});

test('close codes come as a last event, statuses before it', async () => {
  for (const [name, go, state] of [
    ['4403', (s: FakeStream) => (s.open(), s.end(4403, 'revoked')), 'idle'],
    ['401', (s: FakeStream) => s.status(401), 'waiting'],
    ['503 with Retry-After', (s: FakeStream) => s.status(503, { 'Retry-After': '7' }), 'waiting'],
    ['an end without a word', (s: FakeStream) => (s.open(), s.end(1006)), 'waiting'],
    ['a page of a proxy', (s: FakeStream) => s.status(200), 'waiting'],
  ] as const) {
    const house = new House();
    blocked(house);
    house.server.sse = (s) => {
      house.server.sse = undefined;
      go(s);
    };
    const tab = await house.open();
    await house.world.pass(750);
    await until(house, () => house.server.streams.length === 1);
    for (let i = 0; i < 5; i++) await house.world.settle();
    assert.equal(tab.client.state, state, name);
    if (name.startsWith('503')) assert.equal(tab.states.at(-1)!.retryAt! - house.world.now > 6_000, true, name);
  }
});

test('frames in pieces, with carriage returns, comments and fields that nobody knows', async () => {
  const house = new House();
  blocked(house);
  const tab = await open(house);
  const s = last(house);
  const text =
    ': a comment\n\nretry: 5\nid: x\ndata: {"type":"notification","cursor":"c1","id":"爱-1","kind":"k"}\n\n' +
    'data: {"type":"notification","cursor":"c2","id":"a-2","kind":"k"}\r\nid: c2\r\n\r\n';
  const bytes = new TextEncoder().encode(text);
  for (let i = 0; i < bytes.length; i += 3) {
    (s as any)._body.enqueue(bytes.slice(i, i + 3));
    if (i % 9 === 0) await house.world.settle();
  }
  await until(house, () => tab.got.length === 2);
  assert.deepEqual(tab.got, ['爱-1', 'a-2']);
});

test('a token is renewed with a new request, since there is no way back', async () => {
  const house = new House();
  blocked(house);
  const getToken = () => {
    const s = Math.floor(house.world.now / 1000);
    return tokenOf('alice', { exp: s + 60, iat: s });
  };
  const tab = await open(house, { getToken });
  const before = house.server.streams.length;
  for (let i = 0; i < 30; i++) {
    house.server.beat();
    await house.world.pass(2_000);
    await until(house, () => tab.client.state === 'open');
  }
  assert.ok(house.server.streams.length > before);
  assert.equal(tab.client.state, 'open');
  assert.deepEqual(tab.errors, []);
});

test('close ends the request', async () => {
  const house = new House();
  blocked(house);
  const tab = await open(house);
  assert.equal(last(house).live, true);
  tab.client.close();
  assert.equal(last(house).live, false);
  await house.world.pass(60_000);
  assert.equal(tab.client.state, 'idle');
});

test('a listener that closes the client is not given what came in the same piece', async () => {
  const house = new House();
  blocked(house);
  const tab = await open(house);
  tab.client.on('notification', () => tab.client.close());
  const event = (n: number) => `data: {"type":"notification","cursor":"c${n}","id":"a-${n}","kind":"k"}\n\n`;
  last(house).raw(event(1) + event(2));
  await until(house, () => tab.got.length > 0);
  await house.world.pass(5_000);
  assert.deepEqual(tab.got, ['a-1']);
  assert.equal(tab.client.state, 'idle');
});
