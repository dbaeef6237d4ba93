import { asError } from './errors.ts';
import type { Listener } from './types.ts';

/** Listeners by name. One that throws or rejects is reported as `error`, and stops neither the others nor the stream. */
export class Emitter {
  private _lists = new Map<string, Set<Listener<any>>>();

  /** Adds a listener and returns what takes it away again. */
  on(name: string, listener: Listener<any>): () => void {
    const own: Listener<any> = (value) => listener(value); // the same function may be added twice, and each has its undo
    (own as Wrapped)._of = listener;
    const list = this._lists.get(name) ?? new Set();
    this._lists.set(name, list.add(own));
    return () => void list.delete(own);
  }

  off(name: string, listener: Listener<any>): void {
    this._lists.get(name)?.forEach((own, _, list) => (own as Wrapped)._of === listener && list.delete(own));
  }

  /** Calls the listeners of now. Returns a promise only if one of them did. */
  emit(name: string, value: unknown): Promise<unknown> | undefined {
    const pending: Promise<unknown>[] = [];
    for (const listener of [...(this._lists.get(name) ?? [])]) {
      try {
        const result = listener(value) as any;
        if (typeof result?.then === 'function') pending.push(Promise.resolve(result).catch((e) => this._failed(name, e)));
      } catch (e) {
        this._failed(name, e);
      }
    }
    return pending.length ? Promise.all(pending) : undefined;
  }

  /** An error that nobody listens to is at least seen in the console. */
  error(e: unknown): void {
    if (this._lists.get('error')?.size) this.emit('error', asError(e));
    else console.error('tidings:', e);
  }

  private _failed(name: string, e: unknown): void {
    if (name === 'error') console.error('tidings:', e);
    else this.error(e);
  }
}

type Wrapped = Listener<any> & { _of?: Listener<any> };
