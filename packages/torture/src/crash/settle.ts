import { setTimeout as pause } from 'node:timers/promises';
import type { FinalRow } from './history.js';
import type { Party } from './party.js';
import { type CrashRow, KEYS } from './rows.js';

const STEP_MS = 50;
/** How often in a row nothing must be left: a job under way is nowhere to be seen. */
const QUIET_LOOKS = 6;

/** The state that is left once the workers had time to finish. */
export interface Settled {
  readonly rows: ReadonlyMap<string, FinalRow | undefined>;
  /** Keys in the index of unflushed keys, and unflushed entries. */
  readonly unflushed: number;
  /** Changes that the relay has not dealt with. */
  readonly pending: number;
  /** Entries that are not what the store has, in words. */
  readonly differing: readonly string[];
}

/** Lets the workers finish: nothing unflushed, nothing in the feed, for a while; or until `ms` have passed. */
export async function waitUntilIdle({ lockstep, store }: Party, ms: number): Promise<void> {
  const index = indexOf(lockstep);
  const deadline = performance.now() + ms;
  for (let quiet = 0; quiet < QUIET_LOOKS && performance.now() < deadline; ) {
    const left = await Promise.all([lockstep.cache.unflushed?.size(index) ?? 0, store.pending()]).catch(
      () => [1],
    );
    quiet = left.every((count) => count === 0) ? quiet + 1 : 0;
    await pause(STEP_MS);
  }
}

/** Flushes what is left, and compares. */
export async function settle({ lockstep, rows, store }: Party): Promise<Settled> {
  await rows.flush();
  const { cache } = lockstep;
  const [collection] = lockstep.collections;
  if (collection === undefined) throw new Error('there is no collection');
  const { decode, keyPrefix, serializer } = collection;
  const found = await store.rows();
  const hits = await cache.read(
    KEYS.map((key) => keyPrefix + key),
    serializer.encoding,
  );
  const differing: string[] = [];
  let unflushed = (await cache.unflushed?.size(indexOf(lockstep))) ?? 0;
  for (const [i, key] of KEYS.entries()) {
    const hit = hits[i];
    if (hit === undefined) continue;
    if (hit instanceof Error) throw hit;
    if (hit.unflushed === true) unflushed++;
    const row = found.get(key);
    const held = (await decode(hit, key)) as CrashRow | null;
    const same = held?.token === row?.token && held?.counter === row?.counter;
    const versioned = row === undefined || hit.version === row.version;
    if (same && versioned) continue;
    differing.push(
      `${key}: the cache has ${held?.token}+${held?.counter}@${hit.version}, the store ${row?.token}+${row?.counter}@${row?.version}`,
    );
  }
  const all = new Map(KEYS.map((key) => [key, found.get(key)]));
  return { rows: all, unflushed, pending: await store.pending(), differing };
}

function indexOf(lockstep: Party['lockstep']): string {
  return `unflushed:${lockstep.collections[0]?.keyPrefix ?? ''}`;
}
