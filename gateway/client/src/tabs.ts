import type { Env } from './env.ts';
import type { Entry, Line } from './line.ts';
import type { StateChange, Welcome } from './types.ts';

const beat = 2_000; // ms between two looks at whether the leader is there
const patience = 3; // looks without an answer after which a leader counts as frozen
const settling = 10_000; // ms in which a new leader may still be behind its followers
const kept = 1_000; // entries that a leader can give to a tab which comes late or missed some

/** An entry as tabs tell it: `p` is the position before it, so that a tab sees by itself whether it has all. */
type Shared = Entry & { p?: string };

/** What is said between the tabs. Every word has its speaker, and some an addressee. */
type Word = { from: string; to?: string } & (
  | { say: 'hello'; c?: string } // a tab's position: what follows it?
  | { say: 'lead'; at: number; status: Status } // a leader's first word
  | { say: 'here'; status: Status } // its answer to `ping`, and its news
  | { say: 'entry'; e: Shared }
  | { say: 'sync'; ok: boolean; c?: string; list: Shared[]; status: Status } // the answer to `hello`
  | { say: 'welcome'; w: Welcome }
  | { say: 'ping' | 'wake' | 'again' } // look at your clock; dial if you wait; dial anew
);

/** What followers see of the leader's connection. */
export interface Status extends StateChange {
  latency?: number;
}

/** The tab that takes part. */
export interface Seat {
  line: Line;
  /** Takes an entry from another tab. */
  take(e: Entry): void;
  status(): Status;
  /** The leader's status; undefined while there is none to show. */
  show(s: Status | undefined): void;
  welcomed(w: Welcome): void;
  /** Opens this tab's own socket, for all or to catch up; closes it. */
  dial(): void;
  hangUp(): void;
  /** Dials if that is due; `now` also if it is not due yet. */
  wake(now: boolean): void;
  again(): void;
  /** Sharing is not possible here. */
  apart(): void;
}

/**
 * One socket for all tabs of a browser and user. The tab that holds the lock leads: it has the socket, and tells the others every entry together
 * with the position before it. A follower takes what fits its own position. What does not fit it asks for, and if the leader does not
 * have it any more, it catches up with a socket of its own until it meets the others. So it never matters who led when, or whether two
 * tabs thought they did: each tab's own position decides, and nothing is lost or taken twice.
 */
export class Tabs {
  private _id: string;
  private _channel?: BroadcastChannel;
  private _waiting?: AbortController; // for the lock
  private _release?: () => void; // gives the lock back; set while leading
  private _since = 0;
  private _timer: any;

  // Of a follower.
  private _leader?: string;
  private _synced = false;
  private _alone = false; // it catches up with a socket of its own
  private _heard = false; // since the last look
  private _missed = 0;

  // The shared stream, for whoever leads next too.
  private _ring: Shared[] = [];
  private _asking = new Map<string, string | undefined>(); // who said hello, and cannot be answered yet

  constructor(
    private _env: Env,
    private _name: string,
    private _seat: Seat,
  ) {
    this._id = String(_env.Math.random()).slice(2);
  }

  get leading(): boolean {
    return !!this._release;
  }

  /** The leader's connection is this tab's. */
  get following(): boolean {
    return !this._release && this._synced;
  }

  join(): void {
    this._channel = new this._env.BroadcastChannel!(this._name);
    this._channel.onmessage = (e) => this._hear(e.data);
    this._queue({});
    this._hello();
    this._look();
  }

  leave(): void {
    this._env.clearTimeout(this._timer);
    this._waiting?.abort();
    this._release?.();
    this._channel?.close();
    this._channel = this._release = this._leader = undefined;
    this._synced = this._alone = false;
    this._ring = [];
  }

  /** Tells the others what this tab's socket brought; `p` is the position before it. */
  share(e: Entry, p: string | undefined): void {
    if (this._release) {
      this._push({ ...e, p });
      this._say({ say: 'entry', e: { ...e, p } });
      if (e.c) this._asking.forEach((c, to) => (c === undefined || c === e.c) && this._sync(to, c));
    } else if (this._alone) this._meet();
  }

  changed(): void {
    if (this._release) this._say({ say: 'here', status: this._seat.status() });
  }

  welcomed(w: Welcome): void {
    if (this._release) this._say({ say: 'welcome', w });
  }

  /** Says so to whoever leads, whose tab may be hidden and its timers late. */
  poke(say: 'wake' | 'again'): void {
    this._say({ say });
    if (!this._release) this._look();
  }

  private _say(word: object): void {
    this._channel?.postMessage({ ...word, from: this._id });
  }

  // The lock.

  private _queue(how: LockOptions): void {
    const waiting = (this._waiting = new AbortController());
    const { signal } = waiting;
    this._env
      .navigator!.locks!.request(this._name, how.steal ? how : { signal }, () => {
        if (signal.aborted || !this._channel) return;
        return new Promise<void>((release) => this._lead(release));
      })
      .catch((e) => {
        if (waiting !== this._waiting || !this._channel) return;
        if (this._release) this._follow(); // stolen: this tab was silent for too long, and another one leads
        else if (e.name === 'AbortError') this._queue({}); // stolen before we knew that we had it
        else {
          this.leave();
          this._seat.apart();
        }
      });
  }

  private _lead(release: () => void): void {
    this._release = release;
    this._leader = undefined;
    this._since = this._env.Date.now();
    this._synced = false;
    this._env.clearTimeout(this._timer);
    // Behind a gap the ring is of no use: it must end where this tab's socket goes on.
    if (this._ring[this._ring.length - 1]?.c !== this._seat.line.tail) this._ring = [];
    this._seat.show(undefined);
    if (!this._alone) this._seat.dial();
    this._alone = false;
    this._say({ say: 'lead', at: this._since, status: this._seat.status() });
  }

  /** Gives up the lead, which another tab has, or has taken. */
  private _follow(): void {
    this._release!();
    this._release = undefined;
    this._asking.clear();
    this._seat.hangUp();
    this._seat.show(undefined);
    this._queue({});
    this._hello();
    this._look();
  }

  // What is heard.

  private _hear(w: Word): void {
    if (w.to && w.to !== this._id) return;
    const seat = this._seat;
    switch (w.say) {
      case 'hello':
        if (!this._release) return;
        return this._sync(w.from, w.c);
      case 'ping':
      case 'wake':
        if (this._release) {
          seat.wake(w.say === 'wake');
          this.changed();
        }
        return;
      case 'again':
        if (this._release) seat.again();
        return;
      case 'lead':
        if (this._release) {
          // Both took the lock; who took it last has it.
          if (w.at < this._since || (w.at === this._since && w.from < this._id)) return;
          this._follow();
        }
        this._leader = w.from;
        this._synced = false;
        this._hello();
    }
    if (this._release || (this._leader && this._leader !== w.from)) return; // a leader that has not noticed yet
    this._heard = true;
    this._missed = 0;
    if (!this._leader) {
      this._leader = w.from;
      if (w.say !== 'sync') this._hello();
    }
    if (w.say === 'entry') this._entry(w.e);
    else if (w.say === 'sync') this._synchronised(w);
    else if (w.say === 'welcome') this._synced && seat.welcomed(w.w);
    else if (this._synced) seat.show((w as { status: Status }).status);
  }

  private _entry(e: Shared): void {
    this._push(e);
    if (this._alone) return this._meet();
    if (!this._synced) return; // the answer to hello has it
    const { line } = this._seat;
    if (e.p === line.tail) this._seat.take(e);
    else if (e.c && e.c !== line.tail && !line.has(e.c)) {
      this._synced = false;
      this._hello();
    }
  }

  private _synchronised({ ok, c, list, status }: Word & { say: 'sync' }): void {
    const { line } = this._seat;
    if (this._synced || this._alone) return;
    if (!ok) {
      this._alone = true;
      this._ring = [];
      this._seat.show(undefined);
      return this._seat.dial();
    }
    this._synced = true;
    if (line.tail === undefined) this._seat.take({ c }); // a new tab begins where the others are
    this._ring = list;
    line.all(() => list.forEach((e) => e.p === line.tail && this._seat.take(e)));
    this._seat.show(status);
  }

  /** Ends the catching up when this tab's own socket and the shared stream are at one place. */
  private _meet(): void {
    const { tail } = this._seat.line;
    const i = this._ring.findIndex((e) => e.c === tail);
    const last = this._ring[this._ring.length - 1];
    if (i < 0 && last?.p !== tail) return;
    this._alone = false;
    this._synced = true;
    this._seat.hangUp();
    this._seat.line.all(() => this._ring.slice(i < 0 ? -1 : i + 1).forEach((e) => this._seat.take(e)));
    this._say({ say: 'ping' }); // for the leader's state
  }

  // Of the leader, and of those who may become it.

  /** Answers a tab that is at `c`: with what follows, or that it has to see for itself. */
  private _sync(to: string, c: string | undefined): void {
    const { tail } = this._seat.line;
    let i = this._ring.length;
    if (c !== undefined && c !== tail) while (--i >= 0 && this._ring[i]!.p !== c);
    const ok = i >= 0;
    const asksAgain = this._asking.has(to);
    if (tail === undefined || (!ok && !asksAgain && this._env.Date.now() - this._since < settling)) {
      this._asking.set(to, c); // it may be ahead, and we come there
      return;
    }
    this._asking.delete(to);
    this._say({ say: 'sync', to, ok, c: tail, list: this._ring.slice(ok ? i : this._ring.length), status: this._seat.status() });
  }

  private _push(e: Shared): void {
    if (!e.c) return; // ephemeral
    const last = this._ring[this._ring.length - 1];
    if (last && last.c !== e.p) this._ring = [];
    this._ring.push(e);
    if (this._ring.length > kept * 2) this._ring = this._ring.slice(-kept);
  }

  // Of a follower.

  private _hello(): void {
    this._say({ say: 'hello', c: this._seat.line.tail });
  }

  /** Looks after the leader. Its timers may be late, so it is asked; a frozen tab does not answer. */
  private _look(): void {
    const env = this._env;
    env.clearTimeout(this._timer);
    if (!this._channel || this._release) return;
    if (!this._heard) {
      if (++this._missed > patience) {
        this._missed = 0;
        this._waiting?.abort();
        this._leader = undefined;
        this._queue({ steal: true });
      } else this._say({ say: 'ping' });
    }
    if (this._leader && !this._synced && !this._alone) this._hello(); // the answer was lost
    this._heard = false;
    this._timer = env.setTimeout(() => this._look(), beat * (0.75 + env.Math.random() / 2)); // not all at once
  }
}
