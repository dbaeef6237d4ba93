// Events to begin with, one for each way to say whom an event concerns and how it is written.

// fresh is an id that no event had: one that is sent a second time within two minutes is taken for a repetition.
export const fresh = () => `demo-${crypto.getRandomValues(new Uint32Array(2)).join('').slice(0, 12)}`;

export const examples = (me, other) => [
  {
    name: 'One user',
    note: `Raw JSON. Its field userId names ${me}.`,
    subject: 'events.orders.1042.shipped',
    body: { userId: me, orderId: 1042, text: 'Your order 1042 is on its way.' },
  },
  {
    name: 'Several users',
    note: `Raw JSON. Its field userIds names ${me} and ${other}.`,
    subject: 'events.tickets.77.commented',
    body: { userIds: [me, other], ticket: 77, text: 'Ada has commented on ticket 77.' },
  },
  {
    name: 'Header',
    note: 'Anything may be the body: the header notify-users names the users.',
    subject: 'events.deploys.shop.done',
    headers: { 'notify-users': `${me}, ${other}` },
    body: 'Shop 2.4 is live.',
  },
  {
    name: 'CloudEvent',
    note: 'CloudEvents 1.0, structured: attributes and data in the body. A second event of this source and id would be taken for the first.',
    subject: 'events.orders.1042.paid',
    headers: { 'Content-Type': 'application/cloudevents+json' },
    body: { specversion: '1.0', id: fresh(), source: '/shop', type: 'order.paid', notifyusers: me, data: { orderId: 1042, text: 'Order 1042 is paid.' } },
  },
  {
    name: 'CloudEvent, binary',
    note: 'CloudEvents 1.0, binary: attributes in headers, the body is the data.',
    subject: 'events.orders.1043.shipped',
    headers: { 'ce-specversion': '1.0', 'ce-id': fresh(), 'ce-source': '/shop', 'ce-type': 'order.shipped', 'ce-notifyusers': `${me},${other}`, 'Content-Type': 'application/json' },
    body: { orderId: 1043, text: 'Order 1043 is on its way.' },
  },
  {
    name: 'Everyone',
    note: 'Everyone, and groups, are for a rules file (TIDINGS_RULES) to name; the one in the README has a rule for this subject. Without rules, this event names nobody and nothing arrives.',
    subject: 'events.announcements.maintenance',
    body: { text: 'Maintenance tonight at 22:00.' },
  },
];
