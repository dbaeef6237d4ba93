import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { backoff } from '../src/backoff.ts';
import { type Return, returnAfter } from '../src/codes.ts';

const words: { [said: string]: Return } = {
  'as you like': 'soon',
  'no, it is a bug': 'never',
  'later, with delay': 'later',
  'yes, after `retryAfterMs`': 'soon',
  'yes, with full back-off': 'loaded',
  'yes, with the cursor': 'soon',
  'with a new token': 'token',
  no: 'never',
  yes: 'soon',
};

test('the table is that of protocol.md', () => {
  const section = readFileSync('../protocol.md', 'utf8').split('\n## Close codes\n')[1]!;
  const rows = [...section.matchAll(/^\| (\d+) \| `\w+` \| .* \| (.*) \|$/gm)];
  assert.ok(rows.length >= 14, `found ${rows.length} rows`);
  for (const [, code, said] of rows) assert.equal(returnAfter(Number(code)), words[said!], `${code}: ${said}`);
  const known = new Set(rows.map(([, code]) => Number(code)));
  for (let code = 1000; code < 5000; code++) if (!known.has(code)) assert.equal(returnAfter(code), 'soon', String(code));
});

test('back-off is full jitter', () => {
  for (const [attempt, random, want] of [
    [0, 0, 0],
    [0, 0.5, 250],
    [1, 0.5, 500],
    [5, 0.5, 8_000],
    [6, 0.5, 15_000],
    [40, 0.999, 29_970],
    [5_000, 0.5, 15_000],
  ] as const)
    assert.equal(backoff(attempt, random), want);
});
