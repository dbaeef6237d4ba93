// Keys: single ones, where nobody is writing, and a dialog that names them. They can be switched off: single keys are in the
// way of those who steer by voice (WCAG 2.1.4).
import { $ } from './dom.js';

export function listenToKeys(inbox) {
  const KEYS = {
    b: () => $('bell-panel').togglePopover(),
    e: () => $('body').focus(),
    a: () => inbox.read(),
    j: () => step(1),
    k: () => step(-1),
    '?': () => $('help').showModal(),
  };
  $('keys-on').checked = localStorage.getItem('tidings.keys') !== 'off';
  $('keys-on').onchange = () => localStorage.setItem('tidings.keys', $('keys-on').checked ? 'on' : 'off');
  $('help-open').onclick = () => $('help').showModal();
  $('help-close').onclick = () => $('help').close();
  addEventListener('keydown', (e) => {
    if (!$('keys-on').checked || e.ctrlKey || e.metaKey || e.altKey || e.isComposing || $('help').open) return;
    if (e.target.closest('input, textarea, select')) return;
    const act = KEYS[e.key];
    if (!act) return;
    e.preventDefault();
    act();
  });
}

// step goes one notification down or up, and begins with the newest.
function step(by) {
  const rows = [...$('list').querySelectorAll('.item')];
  const now = rows.indexOf(document.activeElement?.closest('.item'));
  const next = rows[now < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, now + by))];
  next?.focus();
}
