import type { Env } from '../src/env.ts';

/** A clock that stands still until a test moves it, and the tasks of all pages, one at a time. */
export class World {
  now = 1_700_000_000_000;
  /** Which of the pages that have something to do is next; a test may choose at random. */
  choose: (n: number) => number = () => 0;
  random: () => number = () => 0.5;
  pages: Page[] = [];

  /** Lets everything happen that needs no time. */
  async settle(): Promise<void> {
    for (;;) {
      await new Promise((f) => setImmediate(f));
      const able = this.pages.filter((p) => p.alive && !p.frozen && p.tasks.length);
      if (!able.length) return;
      able[this.choose(able.length)]!.tasks.shift()!();
    }
  }

  /** Moves the clock, timer by timer. */
  async pass(ms: number): Promise<void> {
    const end = this.now + ms;
    for (await this.settle(); ; await this.settle()) {
      const next = this.pages.flatMap((p) => (p.alive && !p.frozen ? [...p.timers.values()] : [])).sort((a, b) => a.at - b.at)[0];
      if (!next || next.at > end) break;
      this.now = Math.max(this.now, next.at);
      next.page.timers.delete(next.id);
      next.f();
    }
    this.now = end;
  }

  /** Moves the clock while nothing runs, as in sleep. */
  sleep(ms: number): void {
    this.now += ms;
  }
}

interface Timer {
  id: number;
  at: number;
  f(): void;
  page: Page;
}

/** What the pages of one browser share. */
export class FakeBrowser {
  channels = new Set<FakeChannel>();
  local = new FakeStorage();
  locks = new Map<string, { held?: Lock; queue: Lock[] }>();

  constructor(readonly world: World) {}

  page(more: Partial<Env> = {}, session?: FakeStorage): Page {
    return new Page(this, more, session);
  }
}

interface Lock {
  page: Page;
  grant(): Promise<unknown>;
  reject(e: unknown): void;
  resolve(v: unknown): void;
}

/** One tab: its own tasks, timers and sessionStorage. */
export class Page {
  alive = true;
  frozen = false;
  tasks: (() => void)[] = [];
  timers = new Map<number, Timer>();
  events = new EventTarget();
  document = Object.assign(new EventTarget(), { visibilityState: 'visible' as DocumentVisibilityState });
  navigator: { onLine: boolean; locks?: LockManager };
  env: Env;
  private _timer = 0;

  constructor(
    readonly browser: FakeBrowser,
    more: Partial<Env>,
    readonly session: FakeStorage = new FakeStorage(),
  ) {
    const { world } = browser;
    const page = this;
    world.pages.push(this);
    this.navigator = { onLine: true, locks: fakeLocks(this) };
    this.env = {
      Date: { now: () => world.now },
      Math: { random: () => world.random() },
      setTimeout: (f, ms) => {
        const id = ++this._timer;
        this.timers.set(id, { id, at: world.now + ms, f, page });
        return id;
      },
      clearTimeout: (id) => void this.timers.delete(id),
      navigator: this.navigator,
      sessionStorage: this.session as unknown as Storage,
      location: { href: 'https://app.example/page' },
      document: this.document as any,
      addEventListener: this.events.addEventListener.bind(this.events) as any,
      removeEventListener: this.events.removeEventListener.bind(this.events) as any,
      BroadcastChannel: class extends FakeChannel {
        constructor(name: string) {
          super(page, name);
        }
      } as any,
      ...more,
    };
  }

  post(task: () => void): void {
    if (this.alive) this.tasks.push(task);
  }

  fire(name: string): void {
    this.events.dispatchEvent(new Event(name));
  }

  show(state: DocumentVisibilityState): void {
    this.document.visibilityState = state;
    this.document.dispatchEvent(new Event('visibilitychange'));
  }

  online(yes: boolean): void {
    this.navigator.onLine = yes;
    this.fire(yes ? 'online' : 'offline');
  }

  /** The tab is gone from one moment to the next; the browser gives its locks back. */
  crash(): void {
    this.alive = false;
    for (const c of this.browser.channels) if (c.page === this) this.browser.channels.delete(c);
    for (const [name, l] of this.browser.locks) {
      l.queue = l.queue.filter((r) => r.page !== this);
      if (l.held?.page === this) {
        l.held = undefined;
        next(this.browser, name);
      }
    }
  }

  thaw(): void {
    this.frozen = false;
  }
}

export class FakeStorage {
  map = new Map<string, string>();
  getItem(k: string): string | null {
    return this.map.get(k) ?? null;
  }
  setItem(k: string, v: string): void {
    this.map.set(k, v);
  }
}

class FakeChannel {
  onmessage?: (e: { data: any }) => void;
  constructor(
    readonly page: Page,
    readonly name: string,
  ) {
    page.browser.channels.add(this);
  }
  postMessage(data: any): void {
    if (!this.page.alive) return;
    const copy = JSON.stringify(data);
    for (const c of this.page.browser.channels) {
      if (c !== this && c.name === this.name) c.page.post(() => c.page.browser.channels.has(c) && c.onmessage?.({ data: JSON.parse(copy) }));
    }
  }
  close(): void {
    this.page.browser.channels.delete(this);
  }
}

const next = (browser: FakeBrowser, name: string): void => {
  const l = browser.locks.get(name)!;
  const r = l.queue[0];
  if (l.held || !r) return;
  l.queue.shift();
  l.held = r;
  r.page.post(async () => {
    if (l.held !== r) return; // stolen before it was granted
    const v = await r.grant();
    if (l.held === r) {
      l.held = undefined;
      next(browser, name);
    }
    r.resolve(v);
  });
};

const abortError = () => Object.assign(new Error('aborted'), { name: 'AbortError' });

const fakeLocks = (page: Page): LockManager =>
  ({
    request(name: string, options: LockOptions, f: () => Promise<unknown>) {
      const { browser } = page;
      if (!browser.locks.has(name)) browser.locks.set(name, { queue: [] });
      const l = browser.locks.get(name)!;
      return new Promise((resolve, reject) => {
        const r: Lock = { page, grant: async () => f(), resolve, reject: (e) => page.post(() => reject(e)) };
        options.signal?.addEventListener('abort', () => {
          const waits = l.queue.includes(r);
          l.queue = l.queue.filter((x) => x !== r);
          if (waits) reject(abortError());
        });
        if (options.steal) {
          const before = l.held;
          l.held = undefined;
          l.queue.unshift(r);
          before?.reject(abortError());
        } else l.queue.push(r);
        next(browser, name);
      });
    },
  }) as unknown as LockManager;
