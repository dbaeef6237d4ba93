/** Thrown by `getToken`: the user is signed out, or may not. The client stops instead of asking again and again. */
export class UnauthorizedError extends Error {
  override name = 'UnauthorizedError';
}

/** The connection ended in a way that a person should know of. */
export class CloseError extends Error {
  override name = 'CloseError';

  constructor(
    /** The close code of gateway/protocol.md. */
    readonly code: number,
    reason: string,
  ) {
    super(`closed with ${code} ${reason}`);
  }
}

export const asError = (e: unknown): Error => (e instanceof Error ? e : new Error(String(e)));
