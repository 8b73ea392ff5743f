import {
  type Announcement,
  type ChangeFeed,
  type FeedStatus,
  type Lockstep,
  messageOf,
  NotReadyError,
  type QueueAdapter,
  type QueueStatus,
} from '@lockstep/core';
import { type Process, processOf, processProblems, totalsOf } from './processes.js';
import { type Ask, opening } from './session.js';

export interface FeedState extends Partial<FeedStatus> {
  readonly name: string;
}

/** A cache that a store records beside, or as, this one. */
export interface ConsumerState {
  readonly prefix: string;
  readonly source: string;
  readonly collections: readonly string[];
  /** The prefix of this configuration. */
  readonly isOwn: boolean;
  /** Every process that used it has closed it in order. */
  readonly ended: boolean;
}

export interface State {
  readonly well: boolean;
  /** What is wrong, with what mends it where that is known, a line each. */
  readonly problems: readonly string[];
  /** What is not wrong, and worth a thought. */
  readonly notes: readonly string[];
  readonly enabled: boolean;
  readonly prefix: string;
  readonly cache: string | null;
  readonly collections: readonly { readonly name: string; readonly unflushed?: number }[];
  readonly feeds: readonly FeedState[];
  readonly queue: (QueueStatus & { readonly name: string; readonly evicts?: boolean }) | null;
  readonly consumers: readonly ConsumerState[];
  /** Applications and workers that are alive, as they say themselves. */
  readonly processes: readonly Process[];
  /** Of all of them since each began; `null`: nothing was read. */
  readonly hitRate: number | null;
}

/** Older changes are late. */
const LATE_MS = 5_000;

interface Found {
  readonly problems: string[];
  readonly notes: string[];
}

/** What is asked, and within which time. */
interface Asking {
  readonly lockstep: Lockstep;
  readonly timeoutMs: number;
  readonly ask: Ask;
}

/** Asks all at once, so that it takes no longer than what answers last; what does not answer in time is named. */
export async function stateOf(asking: Asking): Promise<State> {
  const { ask, lockstep } = asking;
  const bindings = feedsOf(lockstep);
  // In the order in which they are told.
  const ready: Found = { problems: [], notes: [] };
  const found: Found = { problems: [], notes: [] };
  const cacheOpen = ask('cache', opening(lockstep));
  const whenOpen = async <T>(what: string, question: () => Promise<T>): Promise<T> => {
    await cacheOpen;
    return await ask(what, question());
  };
  const [processes, feeds, consumers, collections, queue, cache] = await Promise.all([
    whenOpen('cache', () => processesOf(lockstep)).catch(() => []),
    Promise.all(bindings.map((each) => feedState(asking, each, found))),
    Promise.all(bindings.map((each) => consumersOf(asking, each, found))),
    Promise.all(lockstep.collections.map((each) => unflushedOf(whenOpen, each, found))),
    lockstep.queue === undefined ? null : queueState(ask, lockstep.queue, found),
    // That it does not answer is found by the opening.
    whenOpen('cache', () => lockstep.cache.info()).then(
      ({ description, outdated }) => {
        if (outdated !== undefined) found.problems.push(`cache ${description}: ${outdated}`);
        return description;
      },
      () => null,
    ),
    readiness(asking, ready),
  ]);
  found.problems.unshift(...ready.problems);
  found.problems.push(...processes.flatMap(processProblems));
  const late = feeds.some(({ oldestMs = 0 }) => oldestMs > LATE_MS);
  const hasRelay = processes.some(({ relay }) => relay !== undefined);
  if (feeds.length > 0 && !hasRelay && !late) {
    found.notes.push('no process here runs a relay: others’ writes wait for one (lockstep worker)');
  }
  const { enabled } = lockstep.status();
  if (!enabled) found.problems.push('the cache is switched off: lockstep on');
  const totals = totalsOf(processes);
  if (totals.shapeMisses > 0) {
    found.notes.push(
      `${totals.shapeMisses} misses by shape: releases that know other columns run side by side, or did`,
    );
  }
  return {
    well: found.problems.length === 0,
    ...found,
    enabled,
    prefix: lockstep.prefix,
    cache,
    collections,
    feeds,
    queue,
    consumers: consumers.flat(),
    processes,
    hitRate: totals.hitRate,
  };
}

/** What can't be opened. */
async function readiness({ lockstep, timeoutMs }: Asking, found: Found): Promise<void> {
  try {
    await lockstep.open({ timeoutMs });
  } catch (error) {
    if (!(error instanceof NotReadyError)) throw error;
    for (const { error: cause, name, part } of error.problems) {
      const message = messageOf(cause);
      const says = message.startsWith(`${name}: `) ? message.slice(name.length + 2) : message;
      found.problems.push(`${part} ${name}: ${says}${mending(part, message)}`);
    }
  }
}

/** What mends a part that can't be opened. */
function mending(part: string, message: string): string {
  if (/not attached|trigger/i.test(message) && part === 'collection') return ' → lockstep attach';
  if (/attached (?:with|by)|another key/i.test(message)) return ' → lockstep detach, then attach';
  if (/prefix/i.test(message) && part === 'collection')
    return ' → lockstep forget PREFIX, if it is used no more';
  if (/protected mode/.test(message))
    return ' → give it a password (requirepass), here too: redis://:PASSWORD@…';
  if (/max number of clients/.test(message))
    return ' → raise its maxclients, or find who keeps connections open';
  if (/ECONNREFUSED|ENOTFOUND|EAI_AGAIN/.test(message)) {
    return ' → is the server up, and its address right? lockstep doctor';
  }
  if (/ETIMEDOUT|no answer|not answer|not connected/.test(message)) {
    return ' → is the server up, its address right, and TLS as it wants it? lockstep doctor';
  }
  return '';
}

type Bound = readonly [ChangeFeed, readonly string[]];

export function feedsOf({ collections }: Lockstep): Bound[] {
  const feeds = new Map<ChangeFeed, Set<string>>();
  for (const { store } of collections) {
    if (store.feed === undefined) continue;
    feeds.set(store.feed, (feeds.get(store.feed) ?? new Set()).add(store.source));
  }
  return [...feeds].map(([feed, sources]) => [feed, [...sources]]);
}

async function feedState(
  { ask, lockstep: { prefix } }: Asking,
  [feed, sources]: Bound,
  found: Found,
): Promise<FeedState> {
  const { name } = feed;
  try {
    const status = await ask(name, feed.status(sources, prefix));
    if (status.oldestMs > LATE_MS) {
      const age = `the oldest change is ${Math.round(status.oldestMs / 1_000)} s old`;
      found.problems.push(`feed ${name}: ${age}: is a worker running, and well? → lockstep worker`);
    }
    for (const warning of status.warnings ?? []) found.problems.push(`feed ${name}: ${warning}`);
    if (status.setAside) {
      found.notes.push(
        `feed ${name}: ${status.setAside} changes of rows whose ids can't be keys were set aside`,
      );
    }
    return { name, ...status };
  } catch (error) {
    const message = messageOf(error);
    found.problems.push(`feed ${message.startsWith(`${name}: `) ? message : `${name}: ${message}`}`);
    return { name };
  }
}

async function consumersOf(
  { ask, lockstep: { prefix } }: Asking,
  [feed, sources]: Bound,
  found: Found,
): Promise<ConsumerState[]> {
  try {
    const recorded = await ask(feed.name, feed.registry.consumers(sources));
    return recorded.map(({ collections, consumer, ended, source }) => {
      const isOwn = consumer === prefix;
      if (!isOwn) {
        const use = ended ? 'was closed in order; its changes are kept' : 'is kept in step, too';
        found.notes.push(`${source}: the cache of prefix "${consumer}" ${use} → lockstep forget ${consumer}`);
      }
      return { prefix: consumer, source, collections, isOwn, ended };
    });
  } catch {
    // What is wrong with the store was found above.
    return [];
  }
}

async function unflushedOf(
  whenOpen: <T>(what: string, question: () => Promise<T>) => Promise<T>,
  { name, unflushed }: Lockstep['collections'][number],
  found: Found,
): Promise<{ readonly name: string; readonly unflushed?: number }> {
  if (unflushed === undefined) return { name };
  try {
    return { name, unflushed: await whenOpen(name, unflushed) };
  } catch (error) {
    found.problems.push(`collection ${name}: how much is unflushed: ${messageOf(error)}`);
    return { name };
  }
}

async function queueState(ask: Ask, queue: QueueAdapter, found: Found): Promise<State['queue']> {
  const { name } = queue;
  // That it does not answer is found by the opening.
  const status = await ask(name, queue.status()).catch(() => null);
  if (status === null) return null;
  if (status.dead > 0) found.problems.push(`queue: ${status.dead} dead letters → lockstep dead-letters`);
  const evicts = await ask(name, evictsOf(queue)).catch(() => undefined);
  if (evicts) found.problems.push(`queue ${name}: ${EVICTING_QUEUE}`);
  return { name, ...status, ...(evicts === undefined ? {} : { evicts }) };
}

export const EVICTING_QUEUE =
  'its Redis may evict jobs → redis-cli CONFIG SET maxmemory-policy noeviction, on a Redis of its own';

/** An adapter's own answer; `undefined`: it has none. */
export async function evictsOf(queue: QueueAdapter): Promise<boolean | undefined> {
  return await (queue as { evicts?: () => Promise<boolean | undefined> }).evicts?.();
}

/** Without this process. */
async function processesOf({ fleet }: Lockstep): Promise<readonly Process[]> {
  const own = fleet.own().id;
  const list: readonly Announcement[] = await fleet.list();
  return list.filter(({ id }) => id !== own).map(processOf);
}
