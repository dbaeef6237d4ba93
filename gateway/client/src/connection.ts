import { backoff, longest } from './backoff.ts';
import { returnAfter } from './codes.ts';
import type { Env } from './env.ts';
import { asError, CloseError } from './errors.ts';
import { type Link, socket } from './link.ts';
import { claims, renewIn } from './token.ts';
import type { Options, State, Transport, Welcome } from './types.ts';

const silence = 5_000; // ms granted on top of two heartbeats before a connection counts as dead
const stable = 10_000; // ms that a connection has to live to prove itself: only then attempts are counted from 0 again
const later = 10_000; // ms added for "later, with delay"
const patience = 5_000; // ms between two attempts that a woken page asks for
const tooLong = 4_000; // bytes of a token that no frame can hold

/** Who has the connection. */
export interface Host {
  /** The cursor to go on from, for the user of the token. Throws when it is the wrong user's. */
  position(token: string | undefined): string | undefined;
  welcomed(w: Welcome, lost: boolean): void;
  frame(f: any): void;
  /** What went over the wire, before anything is made of it. */
  wire(text: string, sent: boolean): void;
  changed(): void;
  failed(e: unknown): void;
  /** It will not come back by itself. */
  stopped(): void;
}

/**
 * One connection that comes back by itself. Its `state` says everything: each state has one timer and one way on, and what an attempt before
 * this one still tells is not heard.
 */
export class Connection {
  state: State = 'idle';
  reason = '';
  retryAt?: number;
  attempt = 0;
  transport: Transport = 'websocket';
  /** ms from the request to the welcome. */
  latency?: number;

  // Of the attempt under way.
  private _number = 0;
  private _link?: Link;
  private _timer: any;
  private _dialled = 0;
  private _patience = 0;
  private _asked = 0; // when the token was there
  private _opened?: number; // when the welcome came
  private _heard = 0;
  private _heartbeat = 0;
  private _from?: string; // the cursor that was given
  private _upgraded = false; // the gateway answered
  private _retryAfter?: number; // a draining or overloaded server's
  private _renewAt?: number;
  private _user?: string; // the token's

  // Of all attempts.
  private _held = false; // the server named the delay: nothing shortens it
  private _refused = false; // 4401 came, and no connection has proved itself since
  private _blocked = 0; // WebSockets in a row that did not open
  private _offline = false;

  constructor(
    private _env: Env,
    private _options: Options,
    private _url: () => URL,
    private _host: Host,
  ) {}

  /** Dials at once, whatever the state. */
  connect(): void {
    this.attempt = this._blocked = 0;
    this._dial();
  }

  close(reason = ''): void {
    this._abandon();
    this._enter('idle', reason);
  }

  /** The page was woken, or something else says that now might be better than later. */
  wake(gap = patience): void {
    const now = this._env.Date.now();
    if (this.state === 'open') return this._check();
    if (this.state === 'connecting' && now >= this._dialled + this._patience) return this._late();
    if (this.state !== 'waiting') return;
    const at = this._held ? this.retryAt! : Math.min(this.retryAt!, Math.max(now, this._dialled + gap));
    if (at <= now) this._dial();
    else this._arm((this.retryAt = at));
  }

  online(yes: boolean): void {
    if (!yes) this._offline = true;
    else if (this._offline && this.state === 'open') this._lost(1006, 'the network changed');
    else this.wake(1_000);
    if (yes) this._offline = false;
  }

  private async _dial(given?: string): Promise<void> {
    const n = this._abandon();
    const { getToken, sse, connectTimeout = 10_000 } = this._options;
    this._patience = connectTimeout;
    const env = this._env;
    this._dialled = env.Date.now();
    this.transport = sse !== false && env.fetch && (this._blocked > 1 || !env.WebSocket) ? 'sse' : 'websocket';
    this._enter('connecting');
    this._arm(this._dialled + connectTimeout);
    try {
      const token = given ?? (await getToken?.({ refused: this._refused }));
      const open = this.transport === 'sse' ? (await import('./sse.ts')).stream : socket; // few need it
      if (n !== this._number) return;
      this._from = this._host.position(token);
      this._plan(token);
      this._asked = env.Date.now();
      const url = this._url();
      if (this._from) url.searchParams.set('cursor', this._from);
      this._link = open(env, url, token, {
        opened: () => (this._upgraded = true),
        text: (text) => this._receive(text),
        closed: (code, reason, after) => this._lost(code, reason, after),
      });
    } catch (e) {
      if (n === this._number) this._failed(e);
    }
  }

  private _receive(text: string): void {
    this._heard = this._env.Date.now();
    this._host.wire(text, false);
    let f: any;
    try {
      f = JSON.parse(text);
    } catch {}
    if (!f || typeof f !== 'object') return this._lost(1006, 'a frame that is not JSON');
    if (f.type === 'draining' || f.type === 'overloaded') this._retryAfter = this._sane(f.retryAfterMs, 0, 300_000);
    else if (f.type === 'welcome') this._welcome(f);
    else if (this.state === 'open') this._host.frame(f);
    else this._lost(1006, 'a frame before the welcome');
  }

  private _welcome(w: Welcome): void {
    this._opened = this._heard;
    this.latency = this._opened - this._asked;
    this._heartbeat = this._sane(w.heartbeat, 1_000, 600_000) ?? 25_000;
    this._enter('open');
    this._check();
    // A server that welcomes as if we were new does not know what we missed.
    this._host.welcomed(w, w.resume === 'reset' || (w.resume === 'none' && !!this._from));
  }

  private _late(): void {
    this._lost(1006, 'no welcome in time');
  }

  /** A number within bounds; undefined for what is none. */
  private _sane(v: unknown, least: number, most: number): number | undefined {
    return typeof v === 'number' && v >= 0 ? Math.min(Math.max(v, least), most) : undefined;
  }

  private _lost(code: number, reason: string, after = this._retryAfter): void {
    const lived = this._opened === undefined ? -1 : this._env.Date.now() - this._opened;
    if (lived >= stable) {
      this.attempt = 0;
      this._refused = false;
    }
    if (!this._link) {
      // It has not come to dialling.
    } else if (this.transport === 'websocket') this._blocked = this._upgraded ? 0 : this._blocked + 1;
    else this._blocked = lived < 0 ? 0 : lived < 60_000 ? 2 : 1; // HTTP is no better; it is; it is, but look again
    const way = returnAfter(code);
    const error = new CloseError(code, reason);
    if (way === 'never') return this._stop(error);
    if (way === 'token') {
      if (this._options.getToken && !this._refused) {
        this._refused = true;
        return void this._dial();
      }
      this._host.failed(error);
    }
    if (way === 'loaded') this.attempt = Math.max(this.attempt, 4);
    this._wait(error.message, after, way === 'later' ? later : 0);
  }

  private _failed(e: unknown): void {
    if ((e as any)?.name === 'UnauthorizedError') return this._stop(e);
    this._blocked = 0;
    this._host.failed(e);
    this._wait(asError(e).message);
  }

  private _stop(e: unknown): void {
    this.close(asError(e).message);
    this._host.stopped();
    this._host.failed(e);
  }

  private _wait(reason: string, after?: number, more = 0): void {
    const env = this._env;
    let delay = after ?? more + backoff(this.attempt, env.Math.random());
    this._held = after !== undefined || more > 0;
    if (env.navigator?.onLine === false) delay = Math.max(delay, longest); // it may be wrong, so it only makes us slow
    this.attempt++;
    this._abandon();
    this.retryAt = env.Date.now() + delay;
    this._arm(this.retryAt);
    this._enter('waiting', reason);
  }

  /** Judges by arrivals. Timers of hidden tabs are late, so it may notice late, but never too early. */
  private _check(): void {
    const now = this._env.Date.now();
    this._heard = Math.min(this._heard, now); // a clock that was set back
    const dead = this._heard + 2 * this._heartbeat + silence;
    if (now >= dead) return this._lost(4408, 'no heartbeat');
    if (this._renewAt && now >= this._renewAt) this._renew();
    this._arm(Math.min(dead, this._renewAt ?? dead));
  }

  private _plan(token: string | undefined): void {
    const c = claims(token);
    const delay = renewIn(c, this._env.Date.now(), this._env.Math.random());
    this._renewAt = this._options.getToken && delay && this._env.Date.now() + delay;
    this._user = c.sub;
  }

  /** Puts a new token in the place of the one before, on the open connection where that can be. */
  private async _renew(): Promise<void> {
    const n = this._number;
    this._renewAt = undefined;
    try {
      const token = await this._options.getToken!({ refused: false });
      if (n !== this._number) return;
      if (!this._link?.send || token.length > tooLong || claims(token).sub !== this._user) return void this._dial(token);
      const text = JSON.stringify({ type: 'auth', token });
      this._link.send(text);
      this._host.wire(text, true);
      this._plan(token);
    } catch (e) {
      if (n !== this._number) return;
      if ((e as any)?.name === 'UnauthorizedError') return this._stop(e);
      this._host.failed(e); // the one before is still good for some time
      this._renewAt = this._env.Date.now() + 5_000 * (1 + this._env.Math.random());
    }
    this._check();
  }

  private _arm(at: number): void {
    const env = this._env;
    env.clearTimeout(this._timer);
    this._timer = env.setTimeout(() => {
      if (this.state === 'open') this._check();
      else if (this.state === 'waiting') this._dial();
      else this._late();
    }, Math.min(Math.max(0, at - env.Date.now()), 3_600_000));
  }

  /** Leaves no link and no timer behind, and begins a new number. */
  private _abandon(): number {
    this._env.clearTimeout(this._timer);
    this._link?.close();
    this._link = this._retryAfter = this._opened = this._renewAt = this.retryAt = undefined;
    this._upgraded = false;
    return ++this._number;
  }

  private _enter(state: State, reason = ''): void {
    this.state = state;
    this.reason = reason;
    this._host.changed();
  }
}
