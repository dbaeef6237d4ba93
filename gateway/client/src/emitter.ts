import { asError } from './errors.ts';
import type { Listener } from './types.ts';

/** Listeners by name. One that throws or rejects is reported as `error`, and stops neither the others nor the stream. */
export class Emitter {
  private _lists = new Map<string, Set<Listener<any>>>();

  /** Adds a listener, once as `addEventListener` does, and returns what takes it away again. */
  on(name: string, listener: Listener<any>): () => void {
    const list = this._lists.get(name) ?? new Set();
    this._lists.set(name, list.add(listener));
    return () => this.off(name, listener);
  }

  off(name: string, listener: Listener<any>): void {
    this._lists.get(name)?.delete(listener);
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
