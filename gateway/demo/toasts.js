// Toasts: what has just arrived, for some seconds. They stay while the pointer or the keyboard is on them.
import { $, button, clip, later, make } from './dom.js';
import { sentence } from './inbox.js';

const MOST = 3;
const SHOWN = 6_000; // ms

export function showToasts(inbox) {
  let arrived = [];
  const render = later(() => {
    const [few, many] = arrived.length > MOST ? [[], arrived.length] : [arrived, 0];
    arrived = [];
    for (const item of few) add(clip(sentence(item), 140), item.kind);
    if (many) add(`${many} new notifications`, 'They are in the inbox.');
    while ($('toasts').childElementCount > MOST) $('toasts').firstElementChild.remove();
  });
  inbox.addEventListener('change', ({ detail: item }) => {
    if (!item || item.mark) return;
    arrived.push(item);
    render();
  });
}

function add(title, text) {
  const toast = make('li', 'toast'), words = make('div');
  words.append(make('p', 'title', title), make('p', 'meta kind', text));
  const close = button('quiet icon', '×', () => toast.remove());
  close.setAttribute('aria-label', 'Dismiss');
  toast.append(words, close);
  let timer;
  const go = () => { clearTimeout(timer); timer = setTimeout(() => toast.remove(), SHOWN); };
  const stay = () => clearTimeout(timer);
  toast.onpointerenter = stay;
  toast.addEventListener('focusin', stay);
  toast.onpointerleave = go;
  toast.addEventListener('focusout', go);
  go();
  $('toasts').append(toast);
}
