// The inbox: the newest notifications of one user, and which of them are read. A reload of the tab finds them again, as it
// finds the client's cursor; reading one in a tab reads it in the user's other tabs.

const KEPT = 100;

export class Inbox extends EventTarget {
  items = []; // newest first: { slot, key, at, read, caught, latency, …notification }, or { slot, key, at, read: true, mark }

  #store; #name; #next = 0; #tabs;

  constructor(user, store) {
    super();
    this.#store = store;
    this.#name = `tidings.inbox.${user}.`;
    for (let i = 0; i < KEPT; i++) {
      const item = JSON.parse(store.getItem(this.#name + i));
      if (item) this.items.push(item);
    }
    this.items.sort((a, b) => b.slot - a.slot);
    this.#next = (this.items[0]?.slot ?? -1) + 1;
    this.#tabs = new BroadcastChannel(`tidings.inbox.${user}`);
    this.#tabs.onmessage = ({ data }) => this.#markRead(new Set(data));
  }

  get unread() { return this.items.filter((i) => !i.read); }

  add(item) {
    // The cursor names a notification; an ephemeral one has none, and one event may make several.
    const slot = this.#next++, all = { ...item, slot, key: item.cursor ?? `${slot} ${item.id}` };
    this.items.unshift(all);
    this.items.length = Math.min(this.items.length, KEPT);
    this.#keep(all);
    this.#changed(all);
  }

  // read marks one item, or all, here and in the other tabs.
  read(item) {
    const keys = (item ? [item] : this.unread).map((i) => i.key);
    this.#markRead(new Set(keys));
    this.#tabs.postMessage(keys);
  }

  clear() {
    for (let i = 0; i < KEPT; i++) this.#store.removeItem(this.#name + i);
    this.items = [];
    this.#changed();
  }

  #markRead(keys) {
    for (const item of this.unread) {
      if (!keys.has(item.key)) continue;
      item.read = true;
      this.#keep(item);
    }
    this.#changed();
  }

  // keep writes one item and not all, since a burst brings thousands. A store that is full keeps what it has.
  #keep(item) {
    try { this.#store.setItem(this.#name + (item.slot % KEPT), JSON.stringify(item)); } catch { /* shown, but not after a reload */ }
  }

  #changed(added) { this.dispatchEvent(new CustomEvent('change', { detail: added })); }
}

// sentence is what a person reads first: the words of the data, where it has some.
export function sentence({ data, kind }) {
  if (typeof data === 'string' && data) return data;
  for (const field of ['title', 'text', 'message', 'summary']) {
    if (typeof data?.[field] === 'string' && data[field]) return data[field];
  }
  return kind;
}
