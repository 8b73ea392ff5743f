import { setTimeout as sleep } from 'node:timers/promises';
import type { CollectionInfo, RecordedCollection, ScannedEntry } from '@lockstep/core';
import { jobsAbout, keptOf, lettersAbout, recordedOf } from '@lockstep/worker/inspect';
import { bar } from './progress.js';
import { bounded, type Session } from './session.js';

/** Where something of a person was found. */
export interface Traces {
  /** In the store. */
  readonly row: boolean;
  /** Cache keys of entries that hold a value of the row. */
  readonly entries: readonly string[];
  /** Cache keys of pointers that lead to the row. Their names are what it was found by. */
  readonly pointers: readonly string[];
  /** Cache keys of views' entries: which of them show the row can't be told, so that all go. */
  readonly views: readonly string[];
  /** Ids of dead letters about the row. */
  readonly deadLetters: readonly string[];
  /** Jobs that wait: they hold the key and a version, and go when they have run. */
  readonly jobs: number;
  /** Changes in the feed: they go once every consumer has dealt with them. */
  readonly feed: number;
  /** True where a deletion is remembered in the store: the key and a version. */
  readonly tombstone: boolean;
}

export interface Target {
  readonly collection: CollectionInfo;
  readonly id: unknown;
  readonly key: string;
  readonly perSecond: number;
}

const HOLE_TTL_MS = 60_000;
const BATCH = 250;
const POLL_MS = 250;
/** Behind the encoded name of a view. */
const VIEW = /^[^:]*%v:/;

/** Looks everywhere that is known. Changes nothing. */
export async function tracesOf(session: Session, target: Target): Promise<Traces> {
  const { lockstep, timeoutMs } = session;
  const { collection, key } = target;
  const { store } = collection;
  const recorded = await recordedOf(lockstep, collection);
  const prefixes = [...new Set([collection.keyPrefix, ...rowPrefixes(recorded)])];
  const cacheKeys = prefixes.map((prefix) => prefix + key);
  const [[row], hits, kept, deadLetters, jobs] = await Promise.all([
    store.read([key], { primary: true, timeoutMs }),
    bounded(session, 'cache', lockstep.cache.read(cacheKeys, collection.serializer.encoding)),
    keptOf(collection, key),
    lettersAbout(lockstep, collection, key, cacheKeys, Number.POSITIVE_INFINITY),
    jobsAbout(lockstep, collection, key, cacheKeys),
  ]);
  for (const hit of hits) if (hit instanceof Error) throw hit;
  const entries = cacheKeys.filter((_, i) => {
    const hit = hits[i];
    return hit !== undefined && !(hit instanceof Error) && hit.payload !== null;
  });
  const { pointers, views } = await scanned(session, target, recorded);
  return {
    row: row !== undefined,
    entries,
    pointers,
    views,
    deadLetters: deadLetters.map(({ id }) => id),
    jobs: jobs ?? 0,
    feed: kept?.changes.length ?? 0,
    tombstone: kept?.tombstone !== undefined,
  };
}

/** Deletes the row, and makes a hole of everything else that holds something of it. Rejects with what a server says. */
export async function erase(session: Session, target: Target, traces: Traces): Promise<void> {
  const { lockstep } = session;
  await target.collection.calls.delete(target.id);
  await target.collection.calls.flush();
  await lockstep.drain();
  const cacheKeys = [...traces.entries, ...traces.pointers, ...traces.views];
  for (let i = 0; i < cacheKeys.length; i += BATCH) {
    const commands = cacheKeys.slice(i, i + BATCH).map((key) => {
      return { kind: 'invalidate', key, version: 0, holeOnEmpty: false, holeTtlMs: HOLE_TTL_MS } as const;
    });
    const replies = await bounded(session, 'cache', lockstep.cache.execute(commands));
    for (const reply of replies) if (reply instanceof Error) throw reply;
    await sleep((commands.length / target.perSecond) * 1_000);
  }
  const { queue } = lockstep;
  if (queue !== undefined && traces.deadLetters.length > 0) {
    await bounded(session, queue.name, queue.deadLetters.discard(traces.deadLetters));
  }
}

/** Waits until feed and queue hold nothing of the row any more, for so long at most. */
export async function settled({ lockstep }: Session, target: Target, waitMs: number): Promise<void> {
  const { collection, key } = target;
  const deadline = performance.now() + waitMs;
  const cacheKeys = [collection.keyPrefix + key];
  while (performance.now() < deadline) {
    const [kept, jobs] = await Promise.all([
      keptOf(collection, key),
      jobsAbout(lockstep, collection, key, cacheKeys),
    ]);
    if ((kept?.changes.length ?? 0) === 0 && (jobs ?? 0) === 0) return;
    await sleep(POLL_MS);
  }
}

function rowPrefixes(recorded: readonly RecordedCollection[]): string[] {
  return recorded.flatMap(({ keyPrefix, lookup, tags }) =>
    lookup === undefined && tags === undefined ? [keyPrefix] : [],
  );
}

/** One walk through all keys of the prefix, where there are pointers or views to be found. */
async function scanned(
  { lockstep, progress }: Session,
  { collection, key, perSecond }: Target,
  recorded: readonly RecordedCollection[],
): Promise<Pick<Traces, 'pointers' | 'views'>> {
  const lookups = recorded.flatMap(({ keyPrefix, lookup }) => (lookup === undefined ? [] : [keyPrefix]));
  const hasViews = recorded.some(({ tags }) => tags !== undefined);
  const found = { pointers: [] as string[], views: [] as string[] };
  if (lookups.length === 0 && !hasViews) return found;
  const start = startOf(collection);
  // A pointer is the row's key as JSON, behind whatever the payload begins with.
  const pointer = JSON.stringify(key);
  let share: number | undefined;
  let seen = 0;
  const startedAt = performance.now();
  const at = (_: string, ofAll: number | undefined): void => {
    share = ofAll;
  };
  for await (const entry of lockstep.cache.scan(start, 'utf8', { at })) {
    if (holdsValue(entry)) {
      const isPointer = lookups.some((prefix) => entry.key.startsWith(prefix));
      if (isPointer && String(entry.payload).includes(pointer)) found.pointers.push(entry.key);
      else if (hasViews && VIEW.test(entry.key.slice(start.length))) found.views.push(entry.key);
    }
    seen += 1;
    if (seen % BATCH !== 0) continue;
    progress(`looking for pointers and views ${bar(share)} ${seen} entries`);
    await sleep(Math.max(0, startedAt + (seen / perSecond) * 1_000 - performance.now()));
  }
  return found;
}

function holdsValue({ payload, state }: ScannedEntry): boolean {
  return state === 'value' && payload !== null;
}

/** The prefix with its colon: the collection's own start without its name. */
function startOf({ keyPrefix }: CollectionInfo): string {
  return keyPrefix.slice(0, keyPrefix.indexOf(':') + 1);
}
