import { randomUUID } from 'node:crypto';

let count = 0;
const run = randomUUID().slice(0, 8);

/** A token or key part that no other case of any process uses. */
export function unique(what: string): string {
  count += 1;
  return `${what}-${run}-${count}`;
}
