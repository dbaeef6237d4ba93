/**
 * What the client takes from its surroundings: the global object, or what a test puts in its place. Outside of browsers much of it is absent.
 * `Date` and not `performance`, which may stand still while the machine sleeps.
 */
export interface Env {
  Date: { now(): number };
  Math: { random(): number };
  setTimeout(f: () => void, ms: number): any;
  clearTimeout(timer: any): void;
  WebSocket?: typeof WebSocket;
  fetch?: typeof fetch;
  BroadcastChannel?: typeof BroadcastChannel;
  navigator?: { onLine?: boolean; locks?: LockManager };
  sessionStorage?: Storage;
  location?: { href: string };
  document?: Pick<Document, 'visibilityState' | 'addEventListener' | 'removeEventListener'>;
  addEventListener?: typeof addEventListener;
  removeEventListener?: typeof removeEventListener;
}
