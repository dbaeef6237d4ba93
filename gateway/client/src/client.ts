import { Connection } from './connection.ts';
import { Emitter } from './emitter.ts';
import type { Env } from './env.ts';
import { UnauthorizedError } from './errors.ts';
import { iterate } from './iterate.ts';
import { type Entry, Line } from './line.ts';
import { keep } from './store.ts';
import type { Status, Tabs } from './tabs.ts';
import { claims } from './token.ts';
import type { Any, Given, Kinds, Listener, Name, Notification, Options, State, StateChange, Transport } from './types.ts';

const reserved = ['notification', 'state', 'welcome', 'reset', 'error', 'frame']; // no kind of notification is heard under these names

/**
 * Brings a user's notifications to the page: in order, each once, and still so after a reload, another server, or sleep. It stays away until `connect`.
 */
export class Client<M extends Kinds = Record<string, unknown>> {
  private _emitter = new Emitter();
  private _connection: Connection;
  private _active = false;
  private _left = false; // the page was left, and may come back

  // Of the user.
  private _user?: string;
  private _line: Line;

  // Of the tabs of this browser.
  private _shares = false; // one socket for all
  private _tabs?: Tabs; // when it is loaded
  private _turn = 0; // of loading it
  private _leader?: Status; // what the leader's connection is like

  private _shown = ''; // the state as it was told last
  private _ends = new Set<() => void>(); // of the iterators

  constructor(
    private _options: Options,
    /** @internal */
    private _env: Env = globalThis,
  ) {
    this._user = _options.user ?? (this._address().searchParams.get('user') || undefined);
    this._line = this._makeLine();
    this._connection = new Connection(this._env, _options, () => this._address(), {
      position: (token) => this._position(token),
      welcomed: (w, lost) => {
        this._emitter.emit('welcome', w);
        this._tabs?.welcomed(w);
        if (lost) this._advance({ c: w.cursor, r: 1 });
        else if (w.resume === 'none') this._advance({ c: w.cursor });
      },
      frame: (f) => {
        const c = typeof f.cursor === 'string' ? f.cursor : undefined;
        if (f.type === 'notification') this._advance({ c, n: f });
        else if (f.type === 'reset') this._advance({ c, r: 1 });
        else if (f.type === undefined) this._advance({ c });
      },
      wire: (text, sent) => void this._emitter.emit('frame', { text, sent }),
      changed: () => this._changed(),
      failed: (e) => this._emitter.error(e),
      stopped: () => {
        this._end();
        this._changed();
      },
    });
  }

  get state(): State {
    return this._status().state;
  }

  /** `sse` where WebSocket is blocked. */
  get transport(): Transport {
    return this._status().transport;
  }

  /** The position up to which your listeners have handled everything. */
  get cursor(): string | undefined {
    return this._line.cursor;
  }

  /** ms from the latest request for a connection to its welcome. */
  get latency(): number | undefined {
    return this._status().latency;
  }

  /** Listens to `notification`, to a kind of notification, or to `state`, `reset`, `welcome`, `error`, `frame`. Returns what undoes it. */
  on<N extends Name<M>>(name: N, listener: Listener<Given<M, N>>): () => void {
    return this._emitter.on(name, listener);
  }

  once<N extends Name<M>>(name: N, listener: Listener<Given<M, N>>): () => void {
    const undo = this._emitter.on(name, (value) => {
      undo();
      return listener(value);
    });
    return undo;
  }

  off<N extends Name<M>>(name: N, listener: Listener<Given<M, N>>): void {
    this._emitter.off(name, listener);
  }

  /**
   * `for await (const n of client)`: every notification from now on, until `close`. One is handled when the next is asked for: what comes meanwhile
   * waits, and so does the cursor.
   */
  [Symbol.asyncIterator](): AsyncGenerator<Any<M>, void, void> {
    return iterate<Any<M>>((listener) => this._emitter.on('notification', listener), this._ends);
  }

  /** Connects, and stays connected until `close`. */
  connect(): void {
    if (this._active) return;
    this._active = true;
    this._listen('addEventListener');
    this._begin();
  }

  /** Leaves, and stays away until `connect`. What waits for a listener is not lost: it comes again then. */
  close(): void {
    this._end();
    this._connection.close('closed by the page');
    this._ends.forEach((end) => end());
    this._line.trim();
  }

  /** Connects anew at once, from the cursor. */
  reconnect(): void {
    if (!this._active) this.connect();
    else if (this._tabs?.following) this._tabs.poke('again');
    else if (this._ours()) this._connection.connect();
  }

  // Beginning and end.

  private _begin(): void {
    const { navigator, BroadcastChannel } = this._env;
    this._shares = !!(this._options.sharedTabs && navigator?.locks && BroadcastChannel && this._user !== undefined);
    if (this._shares) this._join(++this._turn);
    else this._connection.connect();
    this._changed();
  }

  /** What sharing needs is loaded by those who share. */
  private async _join(turn: number): Promise<void> {
    const apart = (e?: unknown) => {
      if (e) this._emitter.error(e);
      this._shares = false;
      this._tabs = undefined;
      this._connection.connect();
    };
    try {
      const { Tabs } = await import('./tabs.ts');
      if (turn !== this._turn) return;
      this._tabs = new Tabs(this._env, this._key()!, {
        line: this._line,
        take: (e) => {
          // Also behind what this tab has had already it goes on where the leader does.
          if (!this._line.push(e)) this._line.tail = e.c;
        },
        status: () => this._status(),
        show: (s) => {
          this._leader = s && { ...s, shared: true };
          this._changed();
        },
        welcomed: (w) => void this._emitter.emit('welcome', w),
        dial: () => this._connection.connect(),
        hangUp: () => this._connection.close(),
        wake: (now) => this._connection.wake(now ? undefined : Infinity),
        again: () => this._connection.connect(),
        apart,
      });
      this._tabs.join();
    } catch (e) {
      if (turn === this._turn) apart(e);
    }
  }

  private _part(): void {
    this._turn++;
    this._tabs?.leave();
    this._tabs = this._leader = undefined;
    this._shares = false;
  }

  private _end(): void {
    this._active = this._left = false;
    this._listen('removeEventListener');
    this._part();
  }

  private _listen(how: 'addEventListener' | 'removeEventListener'): void {
    const env = this._env;
    for (const name of ['online', 'offline', 'pagehide', 'pageshow']) env[how]?.(name, this._noticed);
    for (const name of ['visibilitychange', 'freeze', 'resume']) env.document?.[how](name, this._noticed);
  }

  private _noticed = ({ type }: Event): void => {
    if (type === 'pagehide' || type === 'freeze') {
      // The browser may keep the page for its back button, or let it sleep: there it must hold neither lock nor socket.
      this._left = true;
      this._part();
      this._connection.close('the page was left');
    } else if (type === 'pageshow' || type === 'resume') {
      if (this._left) this._begin();
      this._left = false;
    } else if (this._left) {
      // It is not there.
    } else if (type !== 'visibilitychange') this._ours() && this._connection.online(type === 'online');
    else if (this._env.document!.visibilityState === 'visible') {
      if (this._ours()) this._connection.wake();
      this._tabs?.poke('wake');
    }
  };

  // The stream.

  /** Takes what this tab's own socket brought. */
  private _advance(e: Entry): void {
    const p = this._line.tail;
    if (this._line.push(e)) this._tabs?.share(e, p);
  }

  private _handle({ c, n, r }: Entry, lost: string | undefined): Promise<unknown> | undefined {
    if (r) return this._emitter.emit('reset', { action: 'reload', cursor: c, lost });
    if (!n) return undefined;
    const { kind } = n as Notification;
    const all = this._emitter.emit('notification', n);
    const some = reserved.includes(kind) ? undefined : this._emitter.emit(kind, n);
    return all && some ? Promise.all([all, some]) : (all ?? some);
  }

  // The user.

  private _address(): URL {
    return new URL(this._options.url, this._env.location?.href);
  }

  /** Names what belongs to this user at this gateway; undefined while nobody is known. */
  private _key(): string | undefined {
    const { origin, pathname } = this._address();
    return this._user === undefined ? undefined : `tidings/1 ${this._user} ${origin}${pathname}`;
  }

  private _makeLine(): Line {
    const kept = keep(this._env, this._options, this._key());
    return new Line(
      this._env,
      kept.get(),
      (e, lost) => this._handle(e, lost),
      (c) => kept.set(c),
    );
  }

  /** The cursor for the user of a token. Another user's begins where that user was, and never sees what waits for the one before. */
  private _position(token: string | undefined): string | undefined {
    const { sub } = claims(token);
    if (sub !== undefined && sub !== this._user) {
      if (this._options.user || this._shares) throw new UnauthorizedError(`the token is of ${sub}, not of ${this._user}`);
      this._user = sub;
      this._line.trim();
      this._line = this._makeLine();
    }
    return this._line.tail;
  }

  // The state.

  /** Whether the socket is this tab's. */
  private _ours(): boolean | undefined {
    return !this._shares || this._tabs?.leading || this._connection.state !== 'idle';
  }

  private _status(): Status {
    if (this._active && !this._left && !this._ours())
      return this._leader ?? { state: 'connecting', transport: 'websocket', reason: '', attempt: 0, shared: true };
    const { state, transport, reason, retryAt, attempt, latency } = this._connection;
    return { state, transport, reason, retryAt, attempt, latency, shared: false };
  }

  private _changed(): void {
    const { latency, ...change } = this._status();
    this._tabs?.changed();
    const shown = JSON.stringify(change);
    if (shown === this._shown) return;
    this._shown = shown;
    this._emitter.emit('state', change satisfies StateChange);
  }
}

/** A client of the gateway at `url`. `M` names the kinds of your notifications: `createClient<{ 'order.shipped': { orderId: string } }>({ … })`. */
export const createClient = <M extends Kinds = Record<string, unknown>>(options: Options): Client<M> => new Client<M>(options);
