import type { Env } from './env.ts';
import type { Options, Store } from './types.ts';

/** Where a cursor is kept. */
export interface Kept {
  get(): string | undefined;
  set(cursor: string): void;
}

/**
 * Keeps a cursor in this tab's sessionStorage, and in the application's choice beside it. A tab's own place counts first: two tabs that share
 * one may not be equally far. Without a key nothing is kept, since it could be another user's.
 */
export const keep = (env: Env, { storage }: Options, key: string | undefined): Kept => {
  const each = (f: (s: Store, key: string) => void) => {
    if (storage === null || key === undefined) return;
    for (const own of [true, false]) {
      try {
        const s = own ? env.sessionStorage : storage;
        if (s) f(s, key);
      } catch {} // full or forbidden, and even a look at it may throw: the cursor is in memory
    }
  };
  return {
    get() {
      let cursor: string | undefined;
      each((s, key) => (cursor ??= s.getItem(key) ?? undefined));
      return cursor;
    },
    set: (cursor) => each((s, key) => s.setItem(key, cursor)),
  };
};
