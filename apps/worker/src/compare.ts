import { inspect, isDeepStrictEqual } from 'node:util';
import { type CollectionInfo, InvalidOptionError, type Lockstep, messageOf } from '@lockstep/core';
import { bounded } from './bounded.js';

/** How long a question to cache or store may take, in ms. */
const TIMEOUT_MS = 5_000;

export type Verdict = 'not cached' | 'in step' | 'stale' | 'different' | 'ahead';

interface Side {
  readonly version: number;
  readonly value: unknown;
}

/** An entry of a deleted row has a version that no row has. */
export function verdictOf(entry: Side | undefined, row: Side | undefined): Verdict {
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
): Promise<Comparison[]> {
  const cacheKeys = keys.map((key) => keyPrefix + key);
  const hits = await bounded('cache', TIMEOUT_MS, cache.read(cacheKeys, serializer.encoding));
  for (const hit of hits) if (hit instanceof Error) throw hit;
  const reading = store.read(keys, { primary: true, timeoutMs: TIMEOUT_MS });
  const rows = await bounded(store.name, TIMEOUT_MS, reading);
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
      } catch {
        return { key, verdict: 'unreadable', entry: { version: hit.version, value: undefined }, row };
      }
    }),
  );
}

/** Throws `InvalidOptionError`, which names those that there are. */
export function collectionOf({ collections }: Lockstep, name: string): CollectionInfo {
  const found = collections.find((each) => each.name === name);
  if (found !== undefined) return found;
  const names = collections.map((each) => each.name).join(', ');
  throw new InvalidOptionError('collection', `there is no "${name}"; there are ${names}`);
}

/**
 * An id as somebody types it: JSON where it is a list or an object, else text, or a number where the store takes no such
 * text. Throws `InvalidOptionError`, `InvalidIdError`. The collection is open.
 */
export function idOf({ store }: CollectionInfo, text: string): unknown {
  const id = /^[[{"]/.test(text) ? jsonOf(text) : text;
  try {
    store.keyOf(id as never);
    return id;
  } catch (error) {
    if (!/^-?\d{1,15}$/.test(text)) throw error;
    store.keyOf(Number(text) as never);
    return Number(text);
  }
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    throw new InvalidOptionError('id', `"${text}" is no JSON: ${messageOf(error)}`);
  }
}

/** A value for people's eyes, in bounds. */
export function shown(value: unknown): string {
  const text = inspect(value, { depth: 6, maxArrayLength: 100, maxStringLength: 2_000, breakLength: 80 });
  return text.length > 20_000 ? `${text.slice(0, 20_000)} …` : text;
}
