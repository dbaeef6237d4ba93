/** What a user is shown. */
export interface Notification<Kind extends string = string, Data = unknown> {
  /** The place in the log; absent for an ephemeral notification, which will not come again. */
  cursor?: string;
  /** The event's id. One event may make several notifications. */
  id: string;
  /** What happened. */
  kind: Kind;
  /** When, in RFC 3339. */
  time: string;
  data: Data;
  /** W3C trace context. */
  traceparent?: string;
}

/** The kinds of notifications of an application, each with its data. */
export type Kinds = object;

/** Any of the notifications of `M`. */
export type Any<M extends Kinds> = { [K in keyof M & string]: Notification<K, M[K]> }[keyof M & string];

export type State = 'idle' | 'connecting' | 'open' | 'waiting';

/** How it is connected. */
export type Transport = 'websocket' | 'sse';

/** What the event `state` tells. */
export interface StateChange {
  state: State;
  /** `sse` where WebSocket is blocked. */
  transport: Transport;
  /** Why it is idle or waiting, for people; otherwise empty. */
  reason: string;
  /** While waiting: when it dials again, in ms since the epoch. */
  retryAt?: number;
  /** Attempts that failed since the last connection that lived. */
  attempt: number;
  /** Another tab holds the socket. */
  shared: boolean;
}

/** The server's first frame of a connection. */
export interface Welcome {
  session: string;
  cursor: string;
  resume: 'none' | 'complete' | 'reset';
  /** ms. */
  heartbeat: number;
}

/**
 * The position was lost, and with it all that happened since: load your state anew by other means. Notifications go on from `cursor`, which is
 * kept when your listeners are done (return a promise), so that a page that dies before it has loaded is told again.
 */
export interface Reset {
  action: 'reload';
  cursor: string;
  /** The position that was lost. */
  lost?: string;
}

/** A frame as it went over this tab's own connection, for developers who want to see it. One that is sent holds a token. */
export interface Frame {
  text: string;
  sent: boolean;
}

/** The events that are not kinds of notifications. */
export interface Events<M extends Kinds> {
  notification: Any<M>;
  state: StateChange;
  welcome: Welcome;
  reset: Reset;
  error: Error;
  frame: Frame;
}

/** The names that `on` takes. */
export type Name<M extends Kinds> = keyof Events<M> | (keyof M & string);

/** What a listener of `N` is given. */
export type Given<M extends Kinds, N> = N extends keyof Events<M>
  ? Events<M>[N]
  : N extends keyof M & string
    ? Notification<N, M[N]>
    : never;

/** A listener. When it returns a promise, the next notification waits for it, and so does the cursor. */
export type Listener<T> = (value: T) => unknown;

/** Where cursors are kept: `sessionStorage`, `localStorage`, or what looks like them. */
export type Store = Pick<Storage, 'getItem' | 'setItem'>;

export interface Options {
  /** The gateway's address for WebSockets: `wss://notify.example.com/ws`, or `/ws` on the page's own host. `http` is taken for `ws`. */
  url: string | URL;
  /**
   * The token for an attempt, or for renewing. Its failure is a failed attempt; throw an `UnauthorizedError` to stop. `refused` says that the
   * server did not take the one before, so a cached one will not do. Leave it out where a cookie says who you are.
   */
  getToken?: (why: { refused: boolean }) => string | Promise<string>;
  /** Who is signed in. By default the `user` of the url's query (development mode), or the token's `sub`. Needed for `sharedTabs`. */
  user?: string;
  /** `sessionStorage` (the default): each tab goes on after a reload. `localStorage`: new tabs go on where the last one was, too. `null`: nothing is kept. */
  storage?: Store | null;
  /** One socket for all tabs of this browser and user. */
  sharedTabs?: boolean;
  /** Ask the gateway's `/sse` when WebSocket fails to open twice. On by default. */
  sse?: boolean;
  /** ms that an attempt may take until the welcome. */
  connectTimeout?: number;
}
