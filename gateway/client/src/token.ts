/** What a JWT says, as far as the client needs it; nothing is verified, since the gateway does that. */
export interface Claims {
  sub?: string;
  exp?: number;
  iat?: number;
}

/** An empty object for what is not a JWT. */
export const claims = (token: string | undefined): Claims => {
  try {
    const bytes = atob(token!.split('.')[1]!.replace(/-/g, '+').replace(/_/g, '/'));
    const c = JSON.parse(new TextDecoder().decode(Uint8Array.from(bytes, (b) => b.charCodeAt(0))));
    return c && typeof c === 'object' ? c : {};
  } catch {
    return {};
  }
};

/**
 * The delay until a token is renewed, in ms; undefined for one that does not end. A quarter of its life before the end and at most a
 * minute, spread by `random`, so that tokens given out together are not renewed together. The page's clock may be wrong: by the token's own
 * times it does not live longer, and a clock that is ahead does not make us ask in a loop.
 */
export const renewIn = ({ exp, iat }: Claims, now: number, random: number): number | undefined => {
  if (typeof exp !== 'number') return undefined;
  const left = exp * 1000 - now;
  const life = typeof iat === 'number' ? (exp - iat) * 1000 : left;
  const good = Math.min(left, life);
  return good > 1_000 ? good - Math.min(60_000, good / 4) * (1 + random / 2) : Math.max(life / 2, 30_000);
};
