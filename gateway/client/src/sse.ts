import type { Env } from './env.ts';
import type { Ends, Link } from './link.ts';

/**
 * The same frames over HTTP, one way: `GET …/sse`, server-sent events. With fetch, since an EventSource can neither send a token nor tell an answer
 * of 401 from a broken connection.
 */
export const stream = (env: Env, url: URL, token: string | undefined, ends: Ends): Link => {
  const control = new AbortController();
  url.protocol = url.protocol.replace('ws', 'http');
  url.pathname = url.pathname.replace(/[^/]*$/, 'sse');
  const headers: Record<string, string> = { Accept: 'text/event-stream' };
  if (token) headers.Authorization = 'Bearer ' + token;
  const read = async () => {
    const r = await env.fetch!(url, {
      headers,
      signal: control.signal,
      cache: 'no-store',
      credentials: token ? 'same-origin' : 'include', // a WebSocket takes the cookies along, too
    });
    if (!r.ok || !r.body) {
      const after = Number(r.headers.get('Retry-After')) * 1000;
      return ends.closed(r.status === 401 ? 4401 : 1006, `HTTP ${r.status}`, after > 0 ? after : undefined);
    }
    if (!/^text\/event-stream/.test(r.headers.get('Content-Type') ?? '')) return ends.closed(1006, 'something else answered');
    ends.opened();
    const decoder = new TextDecoder();
    const reader = r.body.getReader();
    for (let rest = ''; ; ) {
      const { done, value } = await reader.read();
      if (done) break;
      const events = (rest + decoder.decode(value, { stream: true }).replace(/\r/g, '')).split('\n\n');
      rest = events.pop()!;
      for (const event of events) {
        const data = /^data: ?(.*)/m.exec(event)?.[1];
        if (control.signal.aborted) return;
        if (/^event: ?close$/m.test(event)) {
          const { code, reason } = JSON.parse(data!);
          return ends.closed(code, reason);
        }
        if (data) ends.text(data);
      }
    }
    throw 0; // it ended without a word
  };
  read().catch((e) => control.signal.aborted || ends.closed(1006, e ? String(e) : ''));
  return { close: () => control.abort() };
};
