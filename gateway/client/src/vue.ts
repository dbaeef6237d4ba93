import { computed, type ComputedRef, getCurrentScope, onScopeDispose, shallowRef } from 'vue';
import { begin, type FeedOptions, feedOf, type Item } from './feed.ts';
import type { Client, Kinds, State } from './index.ts';

export { closeNotifications, type FeedOptions, type Item } from './feed.ts';

export interface Notifications<M extends Kinds> {
  /** The newest first. */
  items: ComputedRef<readonly Item<M>[]>;
  unread: ComputedRef<number>;
  last: ComputedRef<Item<M> | undefined>;
  state: ComputedRef<State>;
  /** Marks one item as read, or all. */
  markRead: (item?: Item<M>) => void;
  client: Client<M>;
}

/** The user's notifications. The first component says where they come from; all share one client, which lives on when they are unmounted. */
export const useNotifications = <M extends Kinds = Record<string, unknown>>(options?: FeedOptions): Notifications<M> => {
  const feed = feedOf<M>(options);
  const shown = shallowRef(feed.shown);
  const undo = feed.subscribe(() => (shown.value = feed.shown));
  if (getCurrentScope()) onScopeDispose(undo);
  begin(feed);
  return {
    items: computed(() => shown.value.items),
    unread: computed(() => shown.value.unread),
    last: computed(() => shown.value.last),
    state: computed(() => shown.value.state),
    markRead: feed.markRead,
    client: feed.client,
  };
};
