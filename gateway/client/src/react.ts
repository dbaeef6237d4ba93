import { useEffect, useSyncExternalStore } from 'react';
import { begin, type FeedOptions, feedOf, type Item, type Shown } from './feed.ts';
import type { Client, Kinds } from './index.ts';

export { closeNotifications, type FeedOptions, type Item } from './feed.ts';

export interface Notifications<M extends Kinds> extends Shown<M> {
  /** Marks one item as read, or all. */
  markRead: (item?: Item<M>) => void;
  client: Client<M>;
}

/** The user's notifications. The first component says where they come from; all share one client, which lives on when they are unmounted. */
export const useNotifications = <M extends Kinds = Record<string, unknown>>(options?: FeedOptions): Notifications<M> => {
  const feed = feedOf<M>(options);
  const shown = useSyncExternalStore(feed.subscribe, feed.get, feed.get);
  useEffect(() => begin(feed), [feed]);
  return { ...shown, markRead: feed.markRead, client: feed.client };
};
