import type { Page, World } from './world.ts';

/** A gateway that closes, stalls, repeats, reorders and lies on command. Its log is a list, its cursors are "0.e.<length of the log>". */
export class FakeServer {
  log: { user: string; id: string; kind: string; data: unknown }[] = [];
  /** The log reaches back to here. */
  base = 0;
  sockets: FakeSocket[] = [];
  heartbeat = 25_000;
  /** What happens to a new socket; by default it is welcomed. */
  greet: (s: FakeSocket) => void = (s) => this.welcome(s);
  /** Requests of /sse, if they are answered at all. */
  sse?: (s: FakeStream) => void;
  streams: FakeStream[] = [];

  constructor(readonly world: World) {}

  /** What a page of this server takes for WebSocket and fetch. */
  for(page: () => Page) {
    const server = this;
    return {
      WebSocket: class extends FakeSocket {
        constructor(url: URL, protocols: string[]) {
          super(server, page(), new URL(url), protocols);
        }
      } as unknown as typeof WebSocket,
      fetch: ((url: URL, init: RequestInit) => new FakeStream(server, page(), new URL(url), init).response) as unknown as typeof fetch,
    };
  }

  get end(): string {
    return this.cursor(this.log.length);
  }

  cursor(n: number): string {
    return `0.e.${n}`;
  }

  welcome(s: FakeSocket | FakeStream): void {
    s.open();
    const at = s.url.searchParams.get('cursor');
    const n = at === null ? this.log.length : Number(at.slice(4));
    const resume = at === null ? 'none' : n < this.base || n > this.log.length ? 'reset' : 'complete';
    const cursor = resume === 'complete' ? at : this.end;
    s.say({ type: 'welcome', session: String(this.sockets.length), cursor, resume, heartbeat: this.heartbeat });
    if (resume === 'complete') for (let i = n; i < this.log.length; i++) this.send(s, i);
    s.live = true;
  }

  send(s: FakeSocket | FakeStream, i: number): void {
    const { user, ...n } = this.log[i]!;
    if (user === s.user) s.given.push(i);
    if (user === s.user) s.say({ type: 'notification', cursor: this.cursor(i + 1), time: '2026-03-01T10:00:00Z', ...n });
  }

  /** A service publishes an event. */
  publish(id: string, user = 'alice', kind = 'test', data: unknown = {}): void {
    this.log.push({ user, id, kind, data });
    for (const s of this.open) this.send(s, this.log.length - 1);
  }

  beat(): void {
    for (const s of this.open) s.say({ cursor: this.end });
  }

  get open(): (FakeSocket | FakeStream)[] {
    return [...this.sockets, ...this.streams].filter((s) => s.live);
  }

  /** The newest socket. */
  get last(): FakeSocket {
    return this.sockets[this.sockets.length - 1]!;
  }

  /** kill -9. */
  drop(): void {
    for (const s of this.open) s.end(1006);
  }
}

const userOf = (url: URL, token: string | undefined): string => {
  try {
    return JSON.parse(atob(token!.split('.')[1]!)).sub;
  } catch {
    return url.searchParams.get('user') ?? 'alice';
  }
};

export class FakeSocket {
  onopen?: () => void;
  onmessage?: (e: { data: string }) => void;
  onclose?: (e: { code: number; reason: string }) => void;
  live = false;
  closed = false;
  /** What it was sent, by its place in the log. */
  given: number[] = [];
  user: string;
  token?: string;
  sent: any[] = [];

  constructor(
    readonly server: FakeServer,
    readonly page: Page,
    readonly url: URL,
    readonly protocols: string[],
  ) {
    this.token = protocols.find((p) => p.startsWith('bearer.'))?.slice(7);
    this.user = userOf(url, this.token);
    server.sockets.push(this);
    queueMicrotask(() => page.alive && server.greet(this));
  }

  private _tell(f: () => void): void {
    if (!this.closed) this.page.post(f);
  }

  open(): void {
    this._tell(() => this.onopen?.());
  }

  /** Word for word, if it is a text. */
  say(frame: unknown): void {
    const data = typeof frame === 'string' ? frame : JSON.stringify(frame);
    this._tell(() => this.onmessage?.({ data }));
  }

  end(code: number, reason = ''): void {
    this._tell(() => this.onclose?.({ code, reason }));
    this.live = false;
    this.closed = true;
  }

  // Of the page.

  send(text: string): void {
    this.sent.push(JSON.parse(text));
  }

  close(): void {
    this.live = false;
    this.closed = true;
  }
}

/** A request of /sse. */
export class FakeStream {
  live = false;
  given: number[] = [];
  user: string;
  token?: string;
  response: Promise<Response>;
  private _answer!: (r: Response) => void;
  private _fail!: (e: unknown) => void;
  private _body?: ReadableStreamDefaultController<Uint8Array>;

  constructor(
    readonly server: FakeServer,
    readonly page: Page,
    readonly url: URL,
    init: RequestInit,
  ) {
    this.token = (init.headers as any).Authorization?.slice(7);
    this.user = userOf(url, this.token);
    server.streams.push(this);
    this.response = new Promise((answer, fail) => ((this._answer = answer), (this._fail = fail)));
    init.signal?.addEventListener('abort', () => {
      this.live = false;
      this._fail(new Error('aborted'));
    });
    queueMicrotask(() => (server.sse ?? ((s: FakeStream) => s.status(404)))(this));
  }

  open(): void {
    const body = new ReadableStream<Uint8Array>({ start: (c) => void (this._body = c) });
    this._answer(new Response(body, { headers: { 'Content-Type': 'text/event-stream' } }));
  }

  status(status: number, headers: Record<string, string> = {}): void {
    this._answer(new Response('no', { status, headers }));
  }

  raw(text: string): void {
    this._body!.enqueue(new TextEncoder().encode(text));
  }

  say(frame: any): void {
    this.raw(`id: ${frame.cursor}\ndata: ${JSON.stringify(frame)}\n\n`);
  }

  end(code: number, reason = ''): void {
    this.live = false;
    if (code !== 1006) this.raw(`event: close\ndata: ${JSON.stringify({ code, reason })}\n\n`);
    this._body!.close();
  }
}

/** An unsigned token. */
export const tokenOf = (sub: string, more: object = {}): string => `h.${btoa(JSON.stringify({ sub, ...more })).replace(/=/g, '')}.s`;
