import type { Env } from './env.ts';

/** An open, or opening, way to the gateway. */
export interface Link {
  /** Absent where the way goes one way. */
  send?(text: string): void;
  /** Nothing is told afterwards. */
  close(): void;
}

/** What a link tells. */
export interface Ends {
  /** The gateway answered; the welcome is still to come. */
  opened(): unknown;
  text(text: string): void;
  /** `code` is that of gateway/protocol.md, 1006 when it broke. */
  closed(code: number, reason: string, retryAfterMs?: number): void;
}

/** A WebSocket that speaks tidings.v1. */
export const socket = (env: Env, url: URL, token: string | undefined, ends: Ends): Link => {
  url.protocol = url.protocol.replace('http', 'ws');
  const s = new env.WebSocket!(url, token ? ['tidings.v1', 'bearer.' + token] : ['tidings.v1']);
  s.onopen = () => ends.opened();
  s.onmessage = (e) => ends.text(e.data);
  s.onclose = (e) => ends.closed(e.code, e.reason);
  return {
    send: (text) => s.send(text),
    close() {
      s.onopen = s.onmessage = s.onclose = null;
      s.close(1000);
    },
  };
};
