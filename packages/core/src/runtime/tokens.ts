import { randomBytes } from 'node:crypto';

/** Makes tokens that are unique for ever: 96 random bits of this process, then a counter. */
export function tokenSource(): () => string {
  const process = randomBytes(12).toString('base64url');
  let count = 0;
  return () => `${process}.${(++count).toString(36)}`;
}
