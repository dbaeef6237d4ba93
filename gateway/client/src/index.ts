export { backoff } from './backoff.ts';
export { Client, createClient } from './client.ts';
export { CloseError, UnauthorizedError } from './errors.ts';
export type * from './types.ts';
