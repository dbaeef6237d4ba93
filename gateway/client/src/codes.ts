/**
 * What a close code means for coming back: the table of gateway/protocol.md, which a test compares with this one.
 *
 * - `never`: we did something wrong, and would do it again.
 * - `token`: once, at once, with a new token.
 * - `later`: with the back-off and some seconds more.
 * - `loaded`: with a back-off that does not begin small; after `overloaded` when the server said.
 * - `soon`: with the back-off; after `draining` when the server said.
 */
export type Return = 'never' | 'token' | 'later' | 'loaded' | 'soon';

const returns: { [code: number]: Return | undefined } = {
  1002: 'never',
  1003: 'never',
  1007: 'never',
  1008: 'later',
  1009: 'never',
  1013: 'loaded',
  4401: 'token',
  4403: 'never',
  4429: 'later',
};

/** A code that is not in the table says that the connection broke. The cursor makes coming back harmless. */
export const returnAfter = (code: number): Return => returns[code] ?? 'soon';
