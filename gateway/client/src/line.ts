import type { Env } from './env.ts';
import type { Notification } from './types.ts';

/** One step of the stream: the position behind it, and what came. Without `n` and `r` only the position moves; an ephemeral notification moves none. */
export interface Entry {
  c?: string;
  n?: Notification;
  /** The position before was lost. */
  r?: 1;
}

const remembered = 4096; // at least so many cursors of notifications: what another tab, or a faulty server, might send again
const slice = 40; // ms of listeners in a row, after which the page may do something else

/**
 * What the application has handled, and what waits for it. Each notification goes to the listeners once, in order, the next when they are done
 * with it; only then the cursor is taken.
 */
export class Line {
  /** The position behind everything received. A connection goes on from here. */
  tail?: string;

  private _queue: Entry[] = [];
  private _before: (string | undefined)[] = []; // the position before each of the queue
  private _next = 0; // of the queue
  private _busy = false;
  private _seen = new Set<string>();
  private _seenBefore = new Set<string>(); // that one's forerunner: dropping it whole is cheaper than one by one

  constructor(
    private _env: Env,
    /** The position behind everything handled. A reload goes on from here. */
    public cursor: string | undefined,
    private _handle: (e: Entry, lost: string | undefined) => Promise<unknown> | undefined,
    private _keep: (cursor: string) => void,
  ) {
    this.tail = cursor;
  }

  /** Takes an entry, or returns false for a notification that was taken before. Cursors are opaque, so equality is all there is to tell by. */
  push(e: Entry): boolean {
    const { c, n } = e;
    if (n && c) {
      if (this.has(c)) return false;
      if (this._seen.size >= remembered) {
        this._seenBefore = this._seen;
        this._seen = new Set();
      }
      this._seen.add(c);
    }
    this._before.push(this.tail);
    this._queue.push(e);
    if (c) this.tail = c;
    if (!this._busy) this._run();
    return true;
  }

  /** Takes many at once, and lets the listeners have them when all are there: so that these too are handled in slices. */
  all(push: () => void): void {
    const free = !this._busy;
    this._busy = true;
    push();
    if (free) this._run();
  }

  has(cursor: string): boolean {
    return this._seen.has(cursor) || this._seenBefore.has(cursor);
  }

  /** Forgets what waits, as if it had not come. What the listeners are at is still theirs. */
  trim(): void {
    const rest = this._queue.splice(this._next);
    const before = this._before.splice(this._next);
    for (const { c } of rest) for (const s of [this._seen, this._seenBefore]) s.delete(c!);
    if (rest.length) this.tail = before[0];
  }

  private _run(): void {
    this._busy = true;
    const until = this._env.Date.now() + slice;
    while (this._next < this._queue.length) {
      if (this._env.Date.now() > until) return void this._env.setTimeout(() => this._run(), 0);
      const e = this._queue[this._next]!;
      const wait = this._handle(e, this._before[this._next++]);
      if (wait) return void wait.then(() => (this._done(e), this._run()));
      this._done(e);
    }
    this._queue = [];
    this._before = [];
    this._next = 0;
    this._busy = false;
  }

  private _done({ c }: Entry): void {
    if (c) this._keep((this.cursor = c));
  }
}
