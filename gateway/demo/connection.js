// One connection that speaks tidings.v1, comes back by itself and keeps its cursor: the least that a careful client does.

const SILENCE = 5_000; // ms granted on top of two heartbeats before a connection counts as dead
const WELCOME_WITHIN = 10_000; // ms from dialling to the welcome
const STABLE = 10_000; // ms open before the back-off starts from its beginning again
const LATER = 10_000; // ms added for "later, with delay"

// The table of protocol.md: these codes mean "do not come back as you are"; 1008 and 4429 "later"; all others "come back".
const FINAL = {
  1002: 'protocol error', 1003: 'binary frame', 1007: 'not UTF-8', 1009: 'too big',
  4401: 'token missing or expired', 4403: 'refused',
};

// backoff is the delay before an attempt, in ms: full jitter, so that a thousand tabs do not come back at once.
export const backoff = (attempt, random = Math.random) => random() * Math.min(30_000, 500 * 2 ** attempt);

export class Connection extends EventTarget {
  state = 'idle'; // idle | connecting | open | waiting
  why = ''; // the reason for idle or waiting
  session = null; // of the newest welcome: id, resume, heartbeat in ms, at and away (ms since the epoch, ms or null)
  heartbeatAt = null;
  retryAt = null; // when a waiting connection dials again

  #user; #store; #socket; #timer; #dialled; #heard; #openedAt; #attempt = 0; #retryAfter = null;

  constructor(user, store) {
    super();
    this.#user = user;
    this.#store = store;
    setInterval(() => this.#watch(), 1000);
    addEventListener('online', () => this.state === 'waiting' && this.connect());
    addEventListener('pagehide', () => this.state === 'open' && this.#keep('left', Date.now()));
  }

  get cursor() { return this.#store.getItem(`tidings.cursor.${this.#user}`); }

  connect() {
    this.#abandon();
    this.#retryAfter = null;
    this.#dialled = Date.now();
    const url = new URL('/ws', location.href.replace(/^http/, 'ws'));
    url.searchParams.set('user', this.#user);
    if (this.cursor) url.searchParams.set('cursor', this.cursor);
    const socket = this.#socket = new WebSocket(url, 'tidings.v1');
    socket.onmessage = (e) => { if (socket === this.#socket) this.#receive(JSON.parse(e.data)); };
    socket.onclose = (e) => { if (socket === this.#socket) this.#closed(e.code, e.reason); };
    this.#enter('connecting');
  }

  // drop leaves, and stays away until connect.
  drop() {
    this.#abandon();
    this.#attempt = 0;
    this.#enter('idle', 'dropped by hand');
  }

  #receive(frame) {
    this.#heard = Date.now();
    if (frame.type === 'welcome') return this.#welcome(frame);
    if (frame.cursor) this.#keep('cursor', frame.cursor); // an ephemeral notification has none
    if (frame.type === 'draining') this.#retryAfter = frame.retryAfterMs;
    if (!frame.type) this.heartbeatAt = this.#heard; // everything up to its cursor is here
    this.#tell(frame.type ?? 'heartbeat', frame);
  }

  #welcome(frame) {
    // After "complete" the missed notifications are still to come: our own cursor stays until each of them moves it.
    if (frame.resume !== 'complete') this.#keep('cursor', frame.cursor);
    const left = this.#keep('left', null);
    this.#openedAt = Date.now();
    this.heartbeatAt = null;
    this.session = { ...frame, at: this.#openedAt, away: left && this.#openedAt - left };
    this.#enter('open');
    this.#tell('welcome', this.session);
  }

  #closed(code, reason) {
    const why = `${code}${reason && ` ${reason}`}`;
    if (code in FINAL) {
      this.#abandon();
      return this.#enter('idle', `closed with ${why}: ${FINAL[code]}`);
    }
    this.#wait(`closed with ${why}`, code === 1008 || code === 4429 ? LATER : 0);
  }

  #wait(why, more = 0) {
    if (this.state === 'open' && Date.now() - this.#openedAt >= STABLE) this.#attempt = 0;
    const delay = this.#retryAfter ?? more + backoff(this.#attempt++);
    this.#abandon();
    this.retryAt = Date.now() + delay;
    this.#timer = setTimeout(() => this.connect(), delay);
    this.#enter('waiting', why);
  }

  // watch judges by arrivals. Timers of hidden tabs are late, so it may notice late, but never too early.
  #watch() {
    const now = Date.now();
    if (this.state === 'connecting' && now - this.#dialled > WELCOME_WITHIN) this.#wait('no welcome');
    if (this.state === 'open' && now - this.#heard > 2 * this.session.heartbeat + SILENCE) this.#wait('no heartbeat');
  }

  // abandon leaves no socket and no timer behind; what the old socket still says is not heard any more.
  #abandon() {
    clearTimeout(this.#timer);
    if (this.state === 'open') this.#keep('left', Date.now());
    this.#socket?.close(1000);
    this.#socket = this.retryAt = null;
  }

  #enter(state, why = '') {
    this.state = state;
    this.why = why;
    this.#tell('state', state);
  }

  // keep stores a value (null: removes it) and returns the one before.
  #keep(name, value) {
    const key = `tidings.${name}.${this.#user}`, before = this.#store.getItem(key);
    if (value === null) this.#store.removeItem(key);
    else this.#store.setItem(key, value);
    return before;
  }

  #tell(type, detail) { this.dispatchEvent(new CustomEvent(type, { detail })); }
}
