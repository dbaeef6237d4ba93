import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claims, renewIn } from '../src/token.ts';

test('claims of what is a JWT, and of what is not', () => {
  const jwt = (payload: string) => `h.${Buffer.from(payload).toString('base64url')}.s`;
  assert.deepEqual(claims(jwt('{"sub":"爱丽丝 & co","exp":1}')), { sub: '爱丽丝 & co', exp: 1 });
  for (const text of [undefined, '', 'opaque', 'a.b.c', 'a.!.c', jwt('not JSON'), jwt('null'), jwt('1')]) assert.deepEqual(claims(text), {}, String(text));
});

test('a token is renewed before its end', () => {
  const now = 1_000_000_000;
  const s = now / 1000;
  for (const [name, c, least, most] of [
    ['no end', {}, undefined, undefined],
    ['an hour', { exp: s + 3600, iat: s }, 3_510_000, 3_540_000],
    ['a minute', { exp: s + 60, iat: s }, 37_500, 45_000],
    ['half used', { exp: s + 1800, iat: s - 1800 }, 1_710_000, 1_740_000],
    ['our clock is an hour behind', { exp: s + 3900, iat: s + 3600 }, 210_000, 240_000],
    ['our clock is an hour ahead', { exp: s - 3300, iat: s - 3600 }, 150_000, 150_000],
    ['our clock is ahead, and no iat', { exp: s - 3300 }, 30_000, 30_000],
  ] as const) {
    const got = [0, 0.999].map((random) => renewIn(c, now, random));
    assert.ok(least === undefined ? got[0] === undefined : Math.min(...(got as number[])) >= least && Math.max(...(got as number[])) <= most!, `${name}: ${got}`);
  }
});
