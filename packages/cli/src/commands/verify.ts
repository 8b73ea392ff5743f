import { setTimeout as sleep } from 'node:timers/promises';
import type { CacheHit, CollectionInfo, Lockstep } from '@lockstep/core';
import { Command, InvalidArgumentError } from 'commander';
import { table } from '../output.js';
import {
  bounded,
  collectionsOf,
  FOUND,
  OK,
  type Session,
  STORE_TIMEOUT_MS,
  withSession,
} from '../session.js';
import { verdictOf } from './inspect.js';

interface Flags {
  readonly repair: boolean;
  readonly perSecond: number;
  readonly lag: number;
  readonly limit?: number;
}

/** Entries by what the store says of them. */
interface Counts {
  inStep: number;
  /** Holes, writes that the store does not have yet, and what was gone when it was looked at. */
  notJudged: number;
  /** Older than the row, or of a row that is gone. */
  stale: number;
  /** Of the row's version, with another value. */
  different: number;
  /** Newer than the row: the store lost a commit, or was restored. */
  ahead: number;
  unreadable: number;
  repaired: number;
}

type Bad = 'stale' | 'different' | 'ahead' | 'unreadable';

interface Suspect {
  readonly key: string;
  readonly kind: Bad;
}

const BATCH = 200;
const HOLE_TTL_MS = 60_000;
/** Keys that are printed, of each collection. */
const SHOWN = 20;

export function positive(text: string): number {
  const number = Number(text);
  if (Number.isInteger(number) && number > 0 && number <= 2 ** 31) return number;
  throw new InvalidArgumentError('must be a whole number above 0.');
}

export function verifyCommand(): Command {
  return new Command('verify')
    .description('compares what is cached with the store, key by key')
    .argument('[collections...]', 'all unless some are named')
    .option('--repair', 'make unreadable what is wrong, so that it is loaded anew', false)
    .option('--per-second <n>', 'the most entries in a second', positive, 5_000)
    .option(
      '--lag <ms>',
      'how long the relay may take: what is in step by then was never wrong',
      positive,
      2_000,
    )
    .option('--limit <n>', 'stop after so many entries of a collection', positive)
    .addHelpText('after', '\nReads the store, where writes go, in batches. Changes nothing without --repair.')
    .action(async (names: string[], flags: Flags, command: Command) => {
      await withSession(command, async (session) => {
        const results: ({ readonly collection: string; readonly keys: readonly string[] } & Counts)[] = [];
        for (const collection of collectionsOf(session.lockstep, names)) {
          results.push({ collection: collection.name, ...(await verified(session, collection, flags)) });
        }
        const columns = [
          'inStep',
          'notJudged',
          'stale',
          'different',
          'ahead',
          'unreadable',
          'repaired',
        ] as const;
        session.result(results, [
          ...table([
            ['collection', ...columns],
            ...results.map((each) => [each.collection, ...columns.map((column) => String(each[column]))]),
          ]),
          ...results.flatMap((each) => each.keys.map((key) => `✗ ${each.collection} ${key}`)),
        ]);
        const isWell = results.every(
          (each) => each.stale + each.different + each.ahead + each.unreadable === 0,
        );
        return isWell ? OK : FOUND;
      });
    });
}

async function verified(
  { lockstep, progress }: Session,
  collection: CollectionInfo,
  { lag, limit, perSecond, repair }: Flags,
): Promise<Counts & { readonly keys: readonly string[] }> {
  const { keyPrefix, name, open, serializer } = collection;
  await open();
  const counts = { inStep: 0, notJudged: 0, stale: 0, different: 0, ahead: 0, unreadable: 0, repaired: 0 };
  const keys: string[] = [];
  let batch: string[] = [];
  let seen = 0;
  const startedAt = performance.now();
  const judge = async (): Promise<void> => {
    let { gone, suspects } = await suspectsOf(lockstep, collection, batch);
    let left = batch.length;
    batch = [];
    if (suspects.length > 0) {
      await sleep(lag);
      counts.notJudged += gone;
      counts.inStep += left - gone - suspects.length;
      left = suspects.length;
      const keysAgain = suspects.map(({ key }) => key);
      ({ gone, suspects } = await suspectsOf(lockstep, collection, keysAgain));
    }
    counts.notJudged += gone;
    counts.inStep += left - gone - suspects.length;
    for (const { key, kind } of suspects) {
      counts[kind] += 1;
      if (keys.length < SHOWN) keys.push(`${kind}: ${key}`);
    }
    if (repair) counts.repaired += await repaired(lockstep, keyPrefix, suspects);
  };
  for await (const entry of lockstep.cache.scan(keyPrefix, serializer.encoding)) {
    seen += 1;
    if (entry.state === 'hole' || entry.unflushed === true) counts.notJudged += 1;
    else batch.push(entry.key.slice(keyPrefix.length));
    if (batch.length === BATCH) await judge();
    if (seen % BATCH === 0) {
      progress(`${name}: ${seen} entries`);
      await sleep(Math.max(0, startedAt + (seen / perSecond) * 1_000 - performance.now()));
    }
    if (seen === limit) break;
  }
  await judge();
  return { ...counts, keys };
}

/** Those of the keys whose entry is not what the store has, and how many are not cached any more. Rejects with what the cache says of a key. */
async function suspectsOf(
  { cache }: Lockstep,
  { decode, keyPrefix, serializer, store }: CollectionInfo,
  keys: readonly string[],
): Promise<{ readonly gone: number; readonly suspects: readonly Suspect[] }> {
  if (keys.length === 0) return { gone: 0, suspects: [] };
  // The cache first: a row that is written in between is newer than the entry, and is looked at again.
  const cacheKeys = keys.map((key) => keyPrefix + key);
  const hits = await bounded('cache', cache.read(cacheKeys, serializer.encoding));
  for (const hit of hits) if (hit instanceof Error) throw hit;
  const rows = await store.read(keys, { primary: true, timeoutMs: STORE_TIMEOUT_MS });
  const found = await Promise.all(
    keys.map(async (key, i): Promise<Suspect[]> => {
      const hit = hits[i] as CacheHit | undefined;
      if (hit === undefined) return [];
      try {
        const verdict = verdictOf({ version: hit.version, value: await decode(hit, key) }, rows[i]);
        return verdict === 'in step' || verdict === 'not cached' ? [] : [{ key, kind: verdict }];
      } catch {
        return [{ key, kind: 'unreadable' }];
      }
    }),
  );
  return { gone: hits.filter((hit) => hit === undefined).length, suspects: found.flat() };
}

async function repaired(
  { cache }: Lockstep,
  keyPrefix: string,
  suspects: readonly Suspect[],
): Promise<number> {
  // Version 0: whatever the entry's version is.
  const commands = suspects.map(({ key }) => {
    return {
      kind: 'invalidate',
      key: keyPrefix + key,
      version: 0,
      holeOnEmpty: false,
      holeTtlMs: HOLE_TTL_MS,
    } as const;
  });
  const replies = await bounded('cache', cache.execute(commands));
  return replies.filter(
    (reply) => !(reply instanceof Error) && reply.kind === 'invalidate' && reply.outcome === 'floored',
  ).length;
}
