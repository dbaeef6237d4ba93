/** The longest delay before an attempt, in ms. */
export const longest = 30_000;

/**
 * The delay before an attempt, in ms: full jitter, so that the tabs of a server that died do not come back all at once.
 * A pure function: `random` is a number in [0, 1).
 */
export const backoff = (attempt: number, random: number): number => random * Math.min(longest, 500 * 2 ** attempt);
