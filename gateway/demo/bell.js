// The bell: how many are unread, in its badge and in the title of the tab, and which.
import { $, ago, button, clip, later, make, put } from './dom.js';
import { sentence } from './inbox.js';
import { open } from './list.js';

const SHOWN = 6;

export function showBell(inbox, title) {
  const panel = $('bell-panel');
  const render = later(() => {
    const { unread } = inbox, count = unread.length > 99 ? '99+' : String(unread.length);
    put('badge', count);
    $('badge').hidden = unread.length === 0;
    $('bell').setAttribute('aria-label', unread.length ? `Notifications, ${count} unread` : 'Notifications, none unread');
    document.title = unread.length ? `(${count}) ${title}` : title;
    const focused = panel.contains(document.activeElement);
    $('bell-list').replaceChildren(...unread.slice(0, SHOWN).map((item) => entry(item, inbox, panel)));
    $('bell-none').hidden = unread.length > 0;
    $('bell-read').hidden = unread.length === 0;
    put('bell-more', unread.length > SHOWN ? `and ${unread.length - SHOWN} more in the inbox` : '');
    if (focused && !panel.contains(document.activeElement)) focusFirst(panel); // what had the focus is gone
  });
  inbox.addEventListener('change', render);
  panel.addEventListener('toggle', (e) => e.newState === 'open' && focusFirst(panel));
  $('bell-read').onclick = () => inbox.read();
  render();
}

function entry(item, inbox, panel) {
  const row = make('li'), b = button('entry', '', () => {
    panel.hidePopover();
    inbox.read(item);
    open(item);
  });
  const meta = make('span', 'meta');
  meta.append(make('span', 'kind', item.kind), make('span', '', ago(item.at)));
  b.append(make('span', 'title', clip(sentence(item), 120)), meta);
  row.append(b);
  return row;
}

const focusFirst = (panel) => (panel.querySelector('.entry') ?? panel).focus();
