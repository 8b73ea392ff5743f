import type {
  CollectionInfo,
  DeadLetter,
  DeadLetters,
  KeptOfRow,
  Lockstep,
  QueueJob,
  RecordedCollection,
} from '@lockstep/core';
import { bounded } from '../bounded.js';
import { TIMEOUT_MS } from './compare.js';

/** Letters may hold values of a megabyte. */
const PAGE = 100;

/** What the feed holds of a row. Of a store that keeps nothing beside the row: `undefined`. */
export async function keptOf({ store }: CollectionInfo, key: string): Promise<KeptOfRow | undefined> {
  if (store.feed?.keptOf === undefined) return undefined;
  return await bounded(store.feed.name, TIMEOUT_MS, store.feed.keptOf(store.source, key));
}

/** What the store records of the table for this cache: collections, pointers and tags. */
export async function recordedOf(
  { prefix }: Pick<Lockstep, 'prefix'>,
  { store }: CollectionInfo,
): Promise<readonly RecordedCollection[]> {
  if (store.feed === undefined) return [];
  const { name, registry } = store.feed;
  const records = await bounded(name, TIMEOUT_MS, registry.read(prefix, [store.source]));
  return records.flatMap(({ collections }) => collections);
}

/** The dead letters, newest first, `most` of them. */
export async function* newest(letters: DeadLetters, most: number): AsyncGenerator<DeadLetter> {
  for (let offset = 0; offset < most; offset += PAGE) {
    const limit = Math.min(PAGE, most - offset);
    const page = await bounded('dead letters', TIMEOUT_MS, letters.list({ offset, limit }));
    yield* page;
    if (page.length < limit) return;
  }
}

/** Dead letters about a row, among the `most` newest; `cacheKeys` are those that hold something of it. */
export async function lettersAbout(
  { queue }: Pick<Lockstep, 'queue'>,
  { name }: CollectionInfo,
  key: string,
  cacheKeys: readonly string[],
  most: number,
): Promise<readonly DeadLetter[]> {
  const found: DeadLetter[] = [];
  if (queue === undefined) return found;
  for await (const letter of newest(queue.deadLetters, most)) {
    const { job } = letter;
    const isAbout =
      job.kind === 'invalidate'
        ? cacheKeys.includes(job.key)
        : job.kind === 'flush'
          ? job.collection === name && job.key === key
          : // Whoever wrote it: what begins with the key in quotes is taken for the row's.
            cacheKeys.some((cacheKey) => job.raw.includes(JSON.stringify(cacheKey)));
    if (isAbout) found.push(letter);
  }
  return found;
}

/** Jobs of the queue about a row, which wait or are active; `undefined`: there is no queue, or it can't tell. */
export async function jobsAbout(
  { queue }: Pick<Lockstep, 'queue'>,
  { name }: CollectionInfo,
  key: string,
  cacheKeys: readonly string[],
): Promise<number | undefined> {
  if (queue?.holds === undefined) return undefined;
  const jobs: QueueJob[] = [
    { kind: 'flush', collection: name, key },
    ...cacheKeys.map((cacheKey) => ({ kind: 'invalidate', key: cacheKey, version: 0 }) as const),
  ];
  return await bounded(queue.name, TIMEOUT_MS, queue.holds(jobs));
}
