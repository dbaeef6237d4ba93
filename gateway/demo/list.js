// The inbox as a list: one row for each notification, newest on top.
import { $, ago, button, clip, later, make, pretty } from './dom.js';
import { sentence } from './inbox.js';

export function showList(inbox) {
  const rows = new Map(); // by slot: a row is made once, so that the focus and what is unfolded stay
  const render = later(() => {
    const items = new Set(inbox.items.map((i) => i.slot));
    for (const [slot, row] of rows) if (!items.has(slot)) { row.remove(); rows.delete(slot); }
    for (const item of [...inbox.items].reverse()) {
      if (!rows.has(item.slot)) {
        rows.set(item.slot, item.mark ? mark(item) : entry(item, inbox));
        $('list').prepend(rows.get(item.slot));
      }
      showRead(rows.get(item.slot), item);
    }
    $('empty').hidden = inbox.items.length > 0;
    $('clear').hidden = inbox.items.length === 0;
    $('read-all').hidden = inbox.unread.length === 0;
  });
  inbox.addEventListener('change', render);
  $('clear').onclick = () => { inbox.clear(); $('inbox').focus(); };
  $('read-all').onclick = () => { inbox.read(); $('inbox').focus(); };
  setInterval(() => {
    for (const time of $('list').querySelectorAll('time')) time.textContent = ago(Date.parse(time.dateTime));
  }, 5_000);
  render();
}

// open shows a notification in the list, and where the keyboard is.
export function open(item) {
  const row = $('list').querySelector(`[data-slot="${item.slot}"]`);
  row?.scrollIntoView({ block: 'nearest' });
  row?.focus({ preventScroll: true });
}

function showRead(row, item) {
  if (item.mark || row.classList.contains('unread') === !item.read) return;
  row.classList.toggle('unread', !item.read);
  const done = row.querySelector('.done');
  if (item.read && document.activeElement === done) row.focus({ preventScroll: true }); // it is hidden now
  done.hidden = item.read;
  row.querySelector('.unseen').textContent = item.read ? '' : 'Unread: ';
}

function entry(item, inbox) {
  const row = make('li', item.caught ? 'item caught' : 'item'), head = make('div', 'head'), meta = make('p', 'meta');
  row.tabIndex = -1;
  row.dataset.slot = item.slot;
  const words = sentence(item), bare = words === item.kind;
  const title = make('p', bare ? 'title kind' : 'title');
  title.textContent = clip(words, 300);
  const done = button('done quiet', 'Mark read', () => inbox.read(item));
  done.setAttribute('aria-label', `Mark read: ${clip(words, 80)}`);
  done.hidden = true;
  head.append(make('span', 'unseen'), title, done);

  const time = make('time', '', ago(item.at));
  time.dateTime = new Date(item.at).toISOString();
  time.title = item.time;
  if (!bare) meta.append(make('span', 'kind', item.kind));
  meta.append(time);
  if (item.caught) meta.append(make('span', 'pill warn', 'caught up'));
  else if (item.latency !== undefined) meta.append(make('span', 'latency', `${item.latency} ms`));
  if (!item.cursor) meta.append(make('span', 'pill', 'ephemeral'));
  row.append(head, ...(bare ? preview(item) : []), meta, details(item));
  return row;
}

// preview is one line of the data where it has no words of its own.
function preview({ data }) {
  return data !== undefined && data !== null ? [make('p', 'preview mono', clip(JSON.stringify(data), 200))] : [];
}

function details(item) {
  const details = make('details'), facts = make('dl', 'facts');
  details.append(make('summary', '', 'Details'));
  if (item.data !== undefined) details.append(make('pre', 'mono', pretty(item.data)));
  for (const [name, value] of [['Id', item.id], ['Cursor', item.cursor], ['Time', item.time], ['Trace', item.traceparent]]) {
    if (value) facts.append(make('dt', '', name), make('dd', name === 'Id' ? 'id mono' : 'mono', value));
  }
  details.append(facts);
  return details;
}

function mark(item) {
  const row = make('li', 'mark bad', item.mark);
  row.dataset.slot = item.slot;
  return row;
}
