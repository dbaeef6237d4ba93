import { type Any, type Client, createClient, type Kinds, type Options, type Reset, type State } from './index.ts';

/** A notification in the list. */
export type Item<M extends Kinds = Record<string, unknown>> = Any<M> & {
  /** Different for each, for lists: one event may make several notifications. */
  key: number;
  read: boolean;
};

/** What a page shows. Each change makes a new one, so that it can be compared. */
export interface Shown<M extends Kinds> {
  /** The newest first; the oldest go when there are more than `limit`. */
  items: readonly Item<M>[];
  unread: number;
  last: Item<M> | undefined;
  state: State;
}

export interface FeedOptions extends Options {
  /** How many items are kept; 100 by default. */
  limit?: number;
  /** Loads the application's state anew; see the event `reset`. */
  onReset?: (r: Reset) => unknown;
}

const frame = 16; // ms between two changes that a page is told of: a burst is not a thousand renderings

/** A client and its newest notifications, for any number of components, and still there when all of them are gone. */
export class Feed<M extends Kinds> {
  readonly client: Client<M>;
  shown: Shown<M> = { items: [], unread: 0, last: undefined, state: 'idle' };

  private _now = this.shown; // what is not told yet
  private _listeners = new Set<() => void>();
  private _told = 0;
  private _timer?: ReturnType<typeof setTimeout>;
  private _keys = 0;

  constructor(public options: FeedOptions) {
    const { getToken } = options;
    // A component that is rendered again brings new functions: the newest count.
    this.client = createClient<M>({ ...options, getToken: getToken && ((why) => this.options.getToken!(why)) });
    this.client.on('notification', (n) => this._add(n));
    this.client.on('state', ({ state }) => this._change({ state }));
    this.client.on('reset', (r) => this.options.onReset?.(r));
  }

  subscribe = (listener: () => void): (() => void) => {
    this._listeners.add(listener);
    return () => void this._listeners.delete(listener);
  };

  get = (): Shown<M> => this.shown;

  /** One item, or all of them. */
  markRead = (item?: Item<M>): void => {
    const { items, unread } = this._now;
    const marked = items.map((i) => (!i.read && (!item || i.key === item.key) ? { ...i, read: true } : i));
    const less = items.filter((i, at) => i !== marked[at]).length;
    const { last } = this._now;
    this._change({ items: marked, unread: item ? unread - less : 0, last: marked.find((i) => i.key === last?.key) ?? last });
    this._tell();
  };

  private _add(n: Any<M>): void {
    const last = { ...n, key: ++this._keys, read: false } as Item<M>;
    const { items, unread } = this._now;
    this._change({ items: [last, ...items.slice(0, (this.options.limit ?? 100) - 1)], unread: unread + 1, last });
  }

  private _change(part: Partial<Shown<M>>): void {
    this._now = { ...this._now, ...part };
    const wait = this._told + frame - Date.now();
    if (wait <= 0) this._tell();
    else this._timer ??= setTimeout(() => this._tell(), wait);
  }

  private _tell(): void {
    clearTimeout(this._timer);
    this._timer = undefined;
    this._told = Date.now();
    this.shown = this._now;
    for (const listener of [...this._listeners]) listener();
  }
}

const feeds = new Map<string, Feed<any>>(); // by url
let latest: Feed<any> | undefined;

/** Pages have one feed for each gateway; a server, which renders for many users, has none that lasts. */
const lasting = (): boolean => typeof window !== 'undefined';

/** The one feed of the gateway and user of `options`, or without them the one that was asked for last. Another user's is closed. */
export const feedOf = <M extends Kinds>(options?: FeedOptions): Feed<M> => {
  if (!options) {
    if (latest) return latest;
    throw new Error('useNotifications: give { url, … } where it is used first, in the root component');
  }
  if (!lasting()) return new Feed<M>(options);
  const key = String(options.url);
  let feed = feeds.get(key);
  if (feed && feed.options.user !== options.user) {
    feed.client.close();
    feed = undefined;
  }
  if (!feed) feeds.set(key, (feed = new Feed<M>(options)));
  feed.options = options;
  return (latest = feed);
};

/** Connects where there is a page; a second time does nothing. */
export const begin = (feed: Feed<any>): void => {
  if (lasting()) feed.client.connect();
};

/** Leaves, and forgets what was shown: the user has signed out. */
export const closeNotifications = (): void => {
  for (const feed of feeds.values()) feed.client.close();
  feeds.clear();
  latest = undefined;
};
