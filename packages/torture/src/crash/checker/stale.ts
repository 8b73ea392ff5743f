import { type Acked, byKey, type History, isAcked, type Read, type Write } from '../history.js';

/** Reads of less than a write that was acknowledged before they began, with the cache in step (G2). */
export function staleReads({ reads, writes }: History): {
  readonly served: string[];
  readonly fallbacks: string[];
} {
  const served: string[] = [];
  const fallbacks: string[] = [];
  const writesOf = byKey(writes);
  for (const [key, list] of byKey(reads)) {
    const own = writesOf.get(key) ?? [];
    const promised = own
      .filter((write): write is Acked => isAcked(write) && isPromised(write))
      .sort((a, b) => a.ack.endUs - b.ack.endUs);
    const deletes = own.filter(({ ack, kind }) => kind === 'delete' || ack?.seen === null);
    let next = 0;
    let highest: Acked | undefined;
    for (const read of [...list].sort((a, b) => a.startUs - b.startUs)) {
      for (; (promised[next]?.ack.endUs ?? Number.POSITIVE_INFINITY) < read.startUs; next++) {
        const candidate = promised[next] as Acked;
        if (highest === undefined || candidate.ack.version > highest.ack.version) highest = candidate;
      }
      if (highest === undefined || !isOlder(read, highest, deletes)) continue;
      const text = `${key}: a read got ${read.seen}@${read.version} after ${highest.kind} ${highest.token}@${highest.ack.version}`;
      (read.fallback ? fallbacks : served).push(text);
    }
  }
  return { served, fallbacks };
}

/**
 * False for foreign writes, and for writes left to the queue or the feed: those are promised within the relay's lag.
 */
function isPromised({ ack, foreign }: Acked): boolean {
  return !foreign && ack.version > 0 && (ack.cache === 'updated' || ack.cache === 'invalidated');
}

function isOlder(read: Read, write: Acked, deletes: readonly Write[]): boolean {
  if (read.version > 0) return read.version < write.ack.version;
  if (write.ack.seen === null) return false;
  // An absence without a version: some deletion must be able to come after the write.
  return !deletes.some(
    (deletion) =>
      deletion.startUs < read.endUs &&
      (deletion.ack === undefined ||
        (deletion.ack.version === 0
          ? deletion.ack.endUs >= write.startUs
          : deletion.ack.version > write.ack.version)),
  );
}
