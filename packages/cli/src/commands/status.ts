import { setTimeout as sleep } from 'node:timers/promises';
import { type ChangeFeed, type Lockstep, messageOf, NotReadyError, type QueueStatus } from '@lockstep/core';
import { Command } from 'commander';
import { table } from '../output.js';
import { bounded, FOUND, OK, type Session, withSession } from '../session.js';

interface FeedState {
  readonly name: string;
  readonly pending?: number;
  readonly oldestMs?: number;
  readonly setAside?: number;
}

interface State {
  readonly well: boolean;
  /** What is wrong, with what mends it where that is known, a line each. */
  readonly problems: readonly string[];
  readonly enabled: boolean;
  readonly prefix: string;
  readonly collections: readonly { readonly name: string; readonly unflushed?: number }[];
  readonly feeds: readonly FeedState[];
  readonly queue: (QueueStatus & { readonly name: string }) | null;
}

const WATCH_MS = 1_000;
const LATE_MS = 5_000;

export function statusCommand(): Command {
  return new Command('status')
    .description('what is wrong, and how far the cache is behind')
    .option('--watch', 'again each second, until it is ended')
    .action(async (flags: { readonly watch?: boolean }, command: Command) => {
      await withSession(command, async (session) => {
        for (;;) {
          const state = await stateOf(session.lockstep);
          if (flags.watch && process.stdout.isTTY) console.clear();
          session.result(state, linesOf(state));
          if (!flags.watch) return state.well ? OK : FOUND;
          await sleep(WATCH_MS);
        }
      });
    });
}

async function stateOf(lockstep: Session['lockstep']): Promise<State> {
  const problems: string[] = [];
  await lockstep.open({ timeoutMs: LATE_MS }).catch((error: unknown) => {
    if (!(error instanceof NotReadyError)) throw error;
    for (const { error: cause, name, part } of error.problems) {
      problems.push(`${part} ${name}: ${messageOf(cause)}${mending(part, messageOf(cause))}`);
    }
  });
  const feeds = await Promise.all(feedsOf(lockstep).map((each) => feedState(lockstep, each, problems)));
  const collections = await Promise.all(
    lockstep.collections.map(async ({ name, unflushed }) => {
      if (unflushed === undefined) return { name };
      try {
        return { name, unflushed: await bounded(name, unflushed()) };
      } catch (error) {
        problems.push(`collection ${name}: how much is unflushed: ${messageOf(error)}`);
        return { name };
      }
    }),
  );
  const { queue } = lockstep;
  // That it does not answer was found above.
  const queued = queue === undefined ? null : await bounded(queue.name, queue.status()).catch(() => null);
  if (queued !== null && queued.dead > 0) {
    problems.push(`queue: ${queued.dead} dead letters: lockstep dead-letters`);
  }
  const { enabled } = lockstep.status();
  if (!enabled) problems.push('the cache is switched off: lockstep on');
  return {
    well: problems.length === 0,
    problems,
    enabled,
    prefix: lockstep.prefix,
    collections,
    feeds,
    queue: queue === undefined || queued === null ? null : { name: queue.name, ...queued },
  };
}

function mending(part: string, message: string): string {
  return part === 'collection' && message.includes('not attached') ? ' → lockstep attach' : '';
}

function feedsOf(lockstep: Lockstep): (readonly [ChangeFeed, readonly string[]])[] {
  const feeds = new Map<ChangeFeed, Set<string>>();
  for (const { store } of lockstep.collections) {
    if (store.feed === undefined) continue;
    feeds.set(store.feed, (feeds.get(store.feed) ?? new Set()).add(store.source));
  }
  return [...feeds].map(([feed, sources]) => [feed, [...sources]]);
}

async function feedState(
  { prefix }: Lockstep,
  [feed, sources]: readonly [ChangeFeed, readonly string[]],
  problems: string[],
): Promise<FeedState> {
  try {
    const status = await bounded(feed.name, feed.status(sources, prefix));
    if (status.oldestMs > LATE_MS) {
      const late = `the oldest change is ${Math.round(status.oldestMs / 1_000)} s old: is a worker running?`;
      problems.push(`feed ${feed.name}: ${late}`);
    }
    return { name: feed.name, ...status };
  } catch (error) {
    problems.push(`feed ${feed.name}: ${messageOf(error)}`);
    return { name: feed.name };
  }
}

function linesOf(state: State): string[] {
  const { collections, feeds, prefix, problems, queue } = state;
  const numbers = feeds.map(({ name, oldestMs, pending }) => [
    `feed ${name}`,
    pending === undefined ? 'no answer' : `${pending} pending`,
    oldestMs === undefined ? '' : `oldest ${Math.round(oldestMs)} ms`,
  ]);
  const names = collections.map(({ name, unflushed }) => [
    `collection ${name}`,
    unflushed === undefined ? '' : `${unflushed} unflushed`,
    '',
  ]);
  const jobs =
    queue === null ? [] : [[`queue ${queue.name}`, `${queue.waiting} waiting`, `${queue.dead} dead`]];
  return [
    ...(problems.length === 0 ? ['all is well'] : problems.map((problem) => `✗ ${problem}`)),
    '',
    `prefix ${prefix}`,
    ...table([...names, ...numbers, ...jobs]),
  ];
}
