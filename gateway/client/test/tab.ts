import { Client } from '../src/client.ts';
import type { Options, StateChange } from '../src/types.ts';
import { FakeServer } from './server.ts';
import { FakeBrowser, type FakeStorage, type Page, World } from './world.ts';

/** A page with a client, and what its listeners were given. */
export class Tab {
  page: Page;
  client: Client<any>;
  got: string[] = [];
  resets: any[] = [];
  states: StateChange[] = [];
  errors: Error[] = [];
  welcomes: any[] = [];

  constructor(
    readonly house: House,
    options: Partial<Options> = {},
    session?: FakeStorage,
    browser = house.browser,
  ) {
    this.page = browser.page(house.server.for(() => this.page), session);
    this.client = new Client<any>({ url: 'wss://notify.example/ws', user: 'alice', ...options }, this.page.env);
    this.client.on('notification', (n: any) => void this.got.push(n.id));
    this.client.on('reset', (r) => void this.resets.push(r));
    this.client.on('state', (s) => void this.states.push(s));
    this.client.on('error', (e) => void this.errors.push(e));
    this.client.on('welcome', (w) => void this.welcomes.push(w));
  }

  /** The same tab after a reload: what it has kept is its sessionStorage. */
  reload(options: Partial<Options> = {}): Tab {
    this.page.fire('pagehide');
    this.page.crash();
    return new Tab(this.house, options, this.page.session, this.page.browser);
  }
}

/** A server, a browser, a clock. */
export class House {
  world = new World();
  server = new FakeServer(this.world);
  browser = new FakeBrowser(this.world);

  tab(options: Partial<Options> = {}): Tab {
    return new Tab(this, options);
  }

  /** A tab that is connected. */
  async open(options: Partial<Options> = {}): Promise<Tab> {
    const tab = this.tab(options);
    tab.client.connect();
    await this.world.settle();
    return tab;
  }
}

export const ids = (prefix: string, from: number, to: number): string[] => Array.from({ length: to - from + 1 }, (_, i) => `${prefix}-${from + i}`);
