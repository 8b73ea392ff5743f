import { isDeepStrictEqual } from 'node:util';
import { type CollectionInfo, type Lockstep, messageOf } from '@lockstep/core';
import { bounded } from '../bounded.js';

/** How long a question to cache or store may take, in ms. */
export const TIMEOUT_MS = 5_000;

type Verdict = 'not cached' | 'in step' | 'stale' | 'different' | 'ahead';

interface Side {
  readonly version: number;
  readonly value: unknown;
}

/** An entry of a deleted row has a version that no row has. */
function verdictOf(entry: Side | undefined, row: Side | undefined): Verdict {
  if (entry === undefined) return 'not cached';
  if (row === undefined) return entry.value === null ? 'in step' : 'stale';
  if (entry.version < row.version) return 'stale';
  if (entry.version > row.version) return 'ahead';
  return isDeepStrictEqual(entry.value, row.value) ? 'in step' : 'different';
}

/** A key as the cache has it, and then as the store has it. */
export interface Comparison {
  readonly key: string;
  readonly verdict: Verdict | 'not flushed yet' | 'unreadable';
  /** Why it is unreadable. */
  readonly problem?: string;
  readonly entry: Side | undefined;
  readonly row: Side | undefined;
}

/**
 * Compares entries with rows, position by position. The cache is asked first: a row that is written in between is newer
 * than the entry, and never the other way round. Rejects where cache or store do not answer.
 */
export async function compare(
  { cache }: Pick<Lockstep, 'cache'>,
  { decode, keyPrefix, seen, serializer, store }: CollectionInfo,
  keys: readonly string[],
  timeoutMs = TIMEOUT_MS,
): Promise<Comparison[]> {
  const cacheKeys = keys.map((key) => keyPrefix + key);
  const hits = await bounded('cache', timeoutMs, cache.read(cacheKeys, serializer.encoding));
  for (const hit of hits) if (hit instanceof Error) throw hit;
  const reading = store.read(keys, { primary: true, timeoutMs });
  const rows = await bounded(store.name, timeoutMs, reading);
  return await Promise.all(
    keys.map(async (key, i): Promise<Comparison> => {
      const [hit, found] = [hits[i], rows[i]];
      const row = found && { version: found.version, value: await seen(found.value) };
      if (hit === undefined || hit instanceof Error)
        return { key, verdict: 'not cached', entry: undefined, row };
      try {
        const entry = { version: hit.version, value: await decode(hit, key) };
        const unflushed = hit.unflushed === true;
        // Without versions the values alone tell.
        const judged = store.capabilities.versioned ? entry : { ...entry, version: row?.version ?? 0 };
        return { key, verdict: unflushed ? 'not flushed yet' : verdictOf(judged, row), entry, row };
      } catch (error) {
        const entry = { version: hit.version, value: undefined };
        return { key, verdict: 'unreadable', problem: messageOf(error), entry, row };
      }
    }),
  );
}
