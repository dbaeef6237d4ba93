// The plain dialect, used as the small wrappers do that teams already have: a bare WebSocket, a greeting, a heartbeat of
// the page's own, and JSON. No subprotocol, no cursor, no coming back.

const $ = (id) => document.getElementById(id);
const user = new URLSearchParams(location.search).get('user')?.trim() || 'alice';
const url = `${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/websocket/${encodeURIComponent(user)}`;

$('user').textContent = user;
$('url').textContent = `new WebSocket("${url}")`;
$('back').href = `/?user=${encodeURIComponent(user)}`;

const socket = new WebSocket(url);
let timer, answers = 0, count = 0;

const show = (state, text) => {
  $('state').dataset.state = state;
  $('state-text').textContent = text;
};

socket.onopen = () => {
  show('open', 'open');
  const health = () => socket.send('{"sendType":"HEALTH"}');
  health();
  timer = setInterval(health, 20_000);
};

socket.onmessage = (e) => {
  if (e.data === 'SUCCESS') $('health').textContent = `SUCCESS × ${++answers}`;
  else if (e.data.startsWith('{')) arrived(JSON.parse(e.data));
  else $('greeting').textContent = e.data;
};

socket.onclose = (e) => {
  clearInterval(timer);
  show('idle', `closed with ${e.code}${e.reason && ` ${e.reason}`} · reload to connect again`);
};

function arrived(notification) {
  const item = document.createElement('li'), text = document.createElement('pre');
  item.className = 'arrival';
  text.className = 'mono';
  text.textContent = JSON.stringify(notification, null, 2);
  item.append(text);
  $('list').prepend(item);
  $('count').textContent = ++count;
}
