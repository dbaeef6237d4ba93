import { useState } from 'react';
import { useNotifications } from 'tidings-client/react';
import { Inbox } from './Inbox.tsx';

// The gateway runs in development mode: /?user=alice&gateway=ws://localhost:8080/ws
const query = new URLSearchParams(location.search);
const user = query.get('user') ?? 'alice';
const url = `${query.get('gateway') ?? 'ws://localhost:8080/ws'}?user=${encodeURIComponent(user)}`;

export const App = () => {
  const { unread, state, last } = useNotifications({ url, user, sharedTabs: true });
  const [open, setOpen] = useState(false);
  return (
    <>
      <button id="bell" aria-expanded={open} onClick={() => setOpen(!open)}>
        Notifications of {user} ({unread})
      </button>
      <output id="state">{state}</output>
      <p role="status" id="last">
        {last?.kind}
      </p>
      {open && <Inbox />}
    </>
  );
};
