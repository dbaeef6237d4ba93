import { useNotifications } from 'tidings-client/react';

// The same client as App's. It lives on when this component does not.
export const Inbox = () => {
  const { items, markRead } = useNotifications();
  return (
    <>
      <button id="all" onClick={() => markRead()}>
        Mark all as read
      </button>
      <ol id="inbox">
        {items.map((n) => (
          <li key={n.key} className={n.read ? 'read' : ''} style={{ opacity: n.read ? 0.5 : 1 }} onClick={() => markRead(n)}>
            <b>{n.kind}</b> <i>{n.id}</i> <time dateTime={n.time}>{n.time}</time>
          </li>
        ))}
      </ol>
    </>
  );
};
