// The connection in figures: session, cursor, heartbeat, and what was caught up after a while away.
import { $, later, parse, put, seconds } from './dom.js';

export class Facts {
  #client; #store; #key; #welcome; #beat; #opened; #left; #away; #caught = 0; #state = 'idle'; #shared = false;

  constructor(client, user, store) {
    this.#client = client;
    this.#store = store;
    this.#key = `tidings.left.${user}`;
    this.#left = Number(store.getItem(this.#key)) || undefined;
    const render = later(() => this.#render());
    client.on('state', (c) => { this.#moved(c); render(); });
    client.on('welcome', (w) => { this.#welcome = w; this.#begin(); render(); });
    client.on('frame', ({ text }) => { if (parse(text).type === undefined) this.#beat = Date.now(); render(); });
    client.on('notification', render);
    addEventListener('pagehide', () => this.#state === 'open' && this.#leave());
    $('drop').onclick = () => (this.#state === 'idle' ? this.connect() : client.close());
    setInterval(render, 1_000);
  }

  connect() {
    this.#begin();
    this.#client.connect();
  }

  // caughtUp tells whether a notification of that time was missed, and counts it.
  caughtUp(time) {
    if (!(Date.parse(time) < this.#opened)) return false;
    this.#caught++;
    return true;
  }

  #begin() {
    this.#opened = Date.now();
    this.#away = this.#left && this.#opened - this.#left;
    this.#caught = 0;
  }

  #leave() {
    this.#left = Date.now();
    this.#store.setItem(this.#key, this.#left);
  }

  #moved({ state, shared }) {
    if (this.#state === 'open' && state !== 'open') this.#leave();
    this.#state = state;
    this.#shared = shared;
  }

  #render() {
    const { latency, transport, cursor } = this.#client, w = this.#welcome, open = this.#state === 'open';
    put('drop', this.#state === 'idle' ? 'Connect' : 'Disconnect');
    put('transport', !open ? '–' : `${transport === 'sse' ? 'server-sent events, over HTTP' : 'WebSocket'}${this.#shared ? ', of another tab' : ''}`);
    put('session', open && w ? w.session : '–');
    put('cursor', cursor ?? '–');
    put('latency', open && latency !== undefined ? `welcome after ${latency} ms` : '–');
    const every = w ? `every ${seconds(w.heartbeat)} of silence` : '–';
    put('heartbeat', open && this.#beat ? `${Math.floor((Date.now() - this.#beat) / 1000)} s ago, ${every}` : every);
    put('resume', w?.resume ?? '–');
    const after = this.#away ? `after ${seconds(this.#away)} away` : 'after a while away';
    put('caught', this.#caught ? `${this.#caught} caught up ${after}` : this.#away && open ? `nothing missed ${after}` : '–');
  }
}
