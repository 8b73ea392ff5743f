import { setTimeout as sleep } from 'node:timers/promises';
import type { CollectionInfo } from '@lockstep/core';
import { compare } from '@lockstep/worker/inspect';
import { bar } from './progress.js';
import { bounded, type Session } from './session.js';

/** Entries by what the store says of them. */
export interface Counts {
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

export type Bad = 'stale' | 'different' | 'ahead' | 'unreadable';

/** What has been found of a collection so far, and where the scan stands. */
export interface Verified extends Counts {
  /** The first of them, with their kinds. */
  readonly keys: string[];
  readonly position?: string;
}

export interface VerifyOptions {
  readonly repair: boolean;
  readonly perSecond: number;
  readonly lag: number;
  readonly limit?: number;
  /** What an earlier run has found, and where it ended. */
  readonly from: Verified | undefined;
  /** Told now and then, when everything before the position is judged. */
  readonly save: (found: Verified) => void;
}

interface Suspect {
  readonly key: string;
  readonly kind: Bad;
}

const BATCH = 200;
const SAVE_MS = 500;
const HOLE_TTL_MS = 60_000;
/** Keys that are printed, of each collection. */
const SHOWN = 20;

const NOTHING: Counts = {
  inStep: 0,
  notJudged: 0,
  stale: 0,
  different: 0,
  ahead: 0,
  unreadable: 0,
  repaired: 0,
};

export function isWell({ ahead, different, stale, unreadable }: Counts): boolean {
  return stale + different + ahead + unreadable === 0;
}

/** Compares each entry of a collection, which is open, with its row, throttled. */
export async function verifyCollection(
  session: Session,
  collection: CollectionInfo,
  { from, lag, limit, perSecond, repair, save }: VerifyOptions,
): Promise<Verified> {
  const { lockstep, progress } = session;
  const { keyPrefix, name, serializer } = collection;
  const counts: Counts = { ...NOTHING, ...from };
  const keys = [...(from?.keys ?? [])];
  const found = (at: string | undefined): Verified => {
    const { ahead, different, inStep, notJudged, repaired, stale, unreadable } = counts;
    const all = { inStep, notJudged, stale, different, ahead, unreadable, repaired, keys };
    return at === undefined ? all : { ...all, position: at };
  };
  let batch: string[] = [];
  let seen = 0;
  let share: number | undefined;
  let position = from?.position;
  const startedAt = performance.now();
  const judge = async (): Promise<void> => {
    let { gone, suspects } = await suspectsOf(session, collection, batch);
    let left = batch.length;
    batch = [];
    if (suspects.length > 0) {
      await sleep(lag);
      counts.notJudged += gone;
      counts.inStep += left - gone - suspects.length;
      left = suspects.length;
      const again = suspects.map(({ key }) => key);
      ({ gone, suspects } = await suspectsOf(session, collection, again));
    }
    counts.notJudged += gone;
    counts.inStep += left - gone - suspects.length;
    for (const { key, kind } of suspects) {
      counts[kind] += 1;
      if (keys.length < SHOWN) keys.push(`${kind}: ${key}`);
    }
    if (repair) {
      const wrong = suspects.map(({ key }) => key);
      counts.repaired += await makeUnreadable(session, keyPrefix, wrong);
    }
  };
  const scan = lockstep.cache.scan(keyPrefix, serializer.encoding, {
    ...(position === undefined ? {} : { from: position }),
    at: (next, ofAll) => {
      position = next;
      share = ofAll;
    },
  });
  let page = position;
  let savedAtMs = startedAt;
  for await (const entry of scan) {
    // The first of a page: everything before the position is in the batch, or judged.
    if (position !== page && performance.now() - savedAtMs > SAVE_MS) {
      await judge();
      savedAtMs = performance.now();
      save(found(position));
    }
    page = position;
    seen += 1;
    if (entry.state === 'hole' || entry.unflushed === true) counts.notJudged += 1;
    else batch.push(entry.key.slice(keyPrefix.length));
    if (batch.length >= BATCH) await judge();
    if (seen % BATCH === 0) {
      const wrong = counts.stale + counts.different + counts.ahead + counts.unreadable;
      progress(`${name} ${bar(share)} ${seen} entries, ${wrong} wrong`);
      await sleep(Math.max(0, startedAt + (seen / perSecond) * 1_000 - performance.now()));
    }
    if (seen === limit) break;
  }
  await judge();
  return found(undefined);
}

/** Those of the keys whose entry is not what the store has, and how many can't be judged any more. Rejects with what a server says. */
async function suspectsOf(
  { lockstep, timeoutMs }: Session,
  collection: CollectionInfo,
  keys: readonly string[],
): Promise<{ readonly gone: number; readonly suspects: readonly Suspect[] }> {
  if (keys.length === 0) return { gone: 0, suspects: [] };
  const suspects: Suspect[] = [];
  let gone = 0;
  for (const { key, verdict } of await compare(lockstep, collection, keys, timeoutMs)) {
    if (verdict === 'not cached' || verdict === 'not flushed yet') gone++;
    else if (verdict !== 'in step') suspects.push({ key, kind: verdict });
  }
  return { gone, suspects };
}

/** Makes holes of the keys' entries, whatever their versions are. Gives how many were values. */
export async function makeUnreadable(
  session: Session,
  keyPrefix: string,
  keys: readonly string[],
): Promise<number> {
  let count = 0;
  for (let i = 0; i < keys.length; i += BATCH) {
    // Version 0: whatever the entry's version is.
    const commands = keys.slice(i, i + BATCH).map((key) => {
      return {
        kind: 'invalidate',
        key: keyPrefix + key,
        version: 0,
        holeOnEmpty: false,
        holeTtlMs: HOLE_TTL_MS,
      } as const;
    });
    const replies = await bounded(session, 'cache', session.lockstep.cache.execute(commands));
    count += replies.filter(
      (reply) => !(reply instanceof Error) && reply.kind === 'invalidate' && reply.outcome === 'floored',
    ).length;
  }
  return count;
}
