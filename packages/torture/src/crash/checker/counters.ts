import { byKey, type History, isAcked } from '../history.js';

/**
 * Additions that are gone, or were made twice. A counter is the sum of those acknowledged since its row was
 * last put, and at the most of those of unknown outcome besides.
 */
export function lostCounts({ rows, writes }: History): string[] {
  const found: string[] = [];
  const ofKey = byKey(writes);
  for (const [key, row] of rows) {
    if (row === undefined) continue;
    const additions = (ofKey.get(key) ?? []).filter(({ kind }) => kind === 'increment');
    const acked = additions.filter((write) => write.ack?.seen === row.token).length;
    const unknown = additions.filter((write) => !isAcked(write)).length;
    if (row.counter >= acked && row.counter <= acked + unknown) continue;
    found.push(
      `${key}: the counter is ${row.counter}, with ${acked} acknowledged and ${unknown} unanswered additions`,
    );
  }
  return found;
}
