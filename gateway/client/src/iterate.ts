/**
 * What a `for await` loop gets. One value is handled when the next is asked for, or when the loop is left: until then the listener's promise is
 * open, and what comes meanwhile waits in the line.
 */
export async function* iterate<T>(on: (listener: (value: T) => unknown) => () => void, ends: Set<() => void>): AsyncGenerator<T, void, void> {
  const offered: T[] = [];
  let over = false;
  let handled: (() => void) | undefined;
  let go: (() => void) | undefined;
  const undo = on((value) => {
    offered.push(value);
    go?.();
    return new Promise<void>((done) => (handled = done));
  });
  const end = () => {
    over = true;
    go?.();
  };
  ends.add(end);
  try {
    while (!over) {
      if (offered.length) {
        yield offered.pop()!;
        handled!();
      } else await new Promise<void>((f) => (go = f));
    }
  } finally {
    undo();
    ends.delete(end);
    handled?.();
  }
}
