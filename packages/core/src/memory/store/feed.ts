import type { Clock } from '../../contracts/clock.js';
import type { Change, ChangeFeed, FeedConsumeOptions, FeedStatus } from '../../contracts/feed.js';
import { NO_VERSION } from '../../contracts/version.js';
import { ClosedError, InvalidOptionError } from '../../errors.js';
import { Backoff } from '../../kit/backoff.js';
import { option, optionValue } from '../../kit/options.js';
import { Pending, type PendingChange } from './pending.js';
import { memoryRegistry } from './registry.js';

const BATCH_SIZE = option.integer(500, 1, 100_000);

export interface MemoryFeedOptions {
  readonly name: string;
  readonly clock: Clock;
  /** How long a change made through the adapter is left to its writer's acknowledgement. */
  readonly graceMs: number;
  /** Changes from a commit on, from the rows' own record; `undefined` where that does not reach back so far. */
  readonly changedSince: (source: string, commit: number) => Change[] | undefined;
  /** How many changes were committed. */
  readonly commits: () => number;
}

/** The feed, and what the database does with it. */
export interface MemoryFeed extends ChangeFeed {
  append(change: Change, own: boolean, commit: number): void;
  /** Changes that nobody has taken. */
  readonly size: number;
}

type Handler = (changes: readonly Change[]) => Promise<void>;

/** Without jitter: the readers of a feed in memory are one process. */
const AFTER_FAILURES = { firstMs: 10, lastMs: 1_000, jitter: 0 };
/** How often a claimant that takes no changes of some source is asked again. */
const UNCLAIMED_MS = 100;

/** A change feed in memory: the newest change of each row, until a handler or its writer has taken it. */
export function memoryFeed({ name, clock, graceMs, changedSince, commits }: MemoryFeedOptions): MemoryFeed {
  const registry = memoryRegistry({ clock, position });
  const sources = new Map<string, Pending>();
  const claimed = new Set<PendingChange>();
  const wakers = new Set<() => void>();
  let closing = new AbortController();

  function pendingOf(source: string): Pending {
    const pending = sources.get(source) ?? new Pending();
    sources.set(source, pending);
    return pending;
  }

  /** Resolves once there may be something to take, after `ms`, or once the signal aborts, which it has not. */
  function idle(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        cancel?.();
        wakers.delete(wake);
        signal.removeEventListener('abort', wake);
        resolve();
      };
      const cancel = ms === Number.POSITIVE_INFINITY ? undefined : clock.schedule(wake, ms);
      signal.addEventListener('abort', wake, { once: true });
      wakers.add(wake);
    });
  }

  function wakeAll(): void {
    for (const wake of [...wakers]) wake();
  }

  /** The changes that nobody has taken, or those that this consumer has not dealt with. */
  function waiting(wanted: readonly string[], consumer: string | undefined): PendingChange[] {
    const active = [...claimed].filter(({ change }) => wanted.includes(change.source));
    const all = [...wanted.flatMap((source) => [...(sources.get(source)?.all() ?? [])]), ...active];
    return consumer === undefined ? all : all.filter(({ done }) => !done.includes(consumer));
  }

  /** The oldest change that a consumer has not dealt with, or the next one. */
  function position(consumer: string, source: string): string {
    const oldest = (least: number, { commit }: PendingChange): number => Math.min(least, commit);
    return String(waiting([source], consumer).reduce(oldest, commits() + 1));
  }

  /** A change that a consumer has dealt with, as long as others have not. */
  function left(item: PendingChange, consumer: string | undefined): PendingChange | undefined {
    if (consumer === undefined) return undefined;
    const done = [...item.done, consumer];
    const all = registry.consumersOf(item.change.source).every((other) => done.includes(other));
    return all ? undefined : { ...item, done };
  }

  function claim(wanted: readonly string[], limit: number, consumer: string | undefined): PendingChange[] {
    const batch: PendingChange[] = [];
    for (const source of wanted) {
      batch.push(...pendingOf(source).take(limit - batch.length, clock.now(), consumer));
    }
    for (const item of batch) claimed.add(item);
    return batch;
  }

  function begin(options: FeedConsumeOptions) {
    if (closing.signal.aborted) throw new ClosedError(`the change feed ${name} is closed`);
    if (!Array.isArray(options.sources) || options.sources.length === 0) {
      throw new InvalidOptionError('feed.sources', 'must name at least one source');
    }
    const batchSize = optionValue(options.batchSize, BATCH_SIZE, 'feed.batchSize');
    const signal = AbortSignal.any([options.signal, closing.signal]);
    return { batchSize, signal, backoff: new Backoff({ ...AFTER_FAILURES, clock }) };
  }

  /** False where the handler rejects. */
  async function handOver(changes: readonly Change[], handler: Handler, { onError }: FeedConsumeOptions) {
    try {
      await handler(changes);
      return true;
    } catch (error) {
      try {
        onError?.(error);
      } catch {
        // A listener's own failure must not end the feed.
      }
      return false;
    }
  }

  return {
    name,
    registry,
    get size() {
      return claimed.size + [...sources.values()].reduce((sum, pending) => sum + pending.size, 0);
    },
    append(change, own, commit) {
      const visibleAtMs = own && graceMs > 0 ? clock.now() + graceMs : 0;
      const { changedAtMs: sinceMs, version: oldest } = change;
      pendingOf(change.source).add({ change, sinceMs, oldest, commit, done: [], visibleAtMs });
      wakeAll();
    },
    async consume(handler, options) {
      const { backoff, batchSize, signal } = begin(options);
      const { claimant } = options;
      while (!signal.aborted) {
        // The states that the claim is made under; sources whose changes the claimant does not take now have none.
        const states = claimant && options.sources.flatMap((source) => claimant.state(source) ?? []);
        const wanted = states?.map(({ source }) => source) ?? options.sources;
        const batch = claim(wanted, batchSize, claimant?.consumer);
        if (batch.length === 0) {
          const visibleAtMs = Math.min(...wanted.map((source) => pendingOf(source).nextVisibleAtMs()));
          const idleMs =
            wanted.length < options.sources.length ? UNCLAIMED_MS : Math.max(0, visibleAtMs - clock.now());
          await idle(idleMs, signal);
          continue;
        }
        const changes = batch.map((item) => item.change);
        const handled = await handOver(changes, handler, options);
        const taken = handled && (states ?? []).every((state) => registry.stands(state));
        for (const item of batch) {
          claimed.delete(item);
          const rest = taken ? left(item, claimant?.consumer) : item;
          if (rest !== undefined) pendingOf(item.change.source).add(rest);
        }
        if (taken) {
          backoff.reset();
          wakeAll();
          continue;
        }
        if (handled) await claimant?.differs();
        await backoff.wait(signal);
      }
    },
    acknowledge(changes, under) {
      if (under !== undefined && !registry.stands(under)) return;
      for (const { source, key, version } of changes) {
        sources.get(source)?.acknowledge(key, version, (item) => left(item, under?.consumer));
      }
    },
    async status(wanted, consumer): Promise<FeedStatus> {
      const all = waiting(wanted, consumer);
      const now = clock.now();
      const oldest = all.reduce((least, { sinceMs }) => Math.min(least, sinceMs), now);
      return { pending: all.length, oldestMs: now - oldest };
    },
    async replay(since, handler, options) {
      const { backoff, batchSize, signal } = begin(options);
      const changes: Change[] = [];
      for (const source of options.sources) {
        const positions = (since.get(source) ?? []).map(Number);
        const found = positions.length === 0 ? undefined : changedSince(source, Math.min(...positions));
        if (found === undefined) await options.onReset?.(source, NO_VERSION);
        else changes.push(...found);
      }
      for (let at = 0; at < changes.length && !signal.aborted; ) {
        if (await handOver(changes.slice(at, at + batchSize), handler, options)) {
          at += batchSize;
          backoff.reset();
        } else await backoff.wait(signal);
      }
    },
    async close() {
      closing.abort();
    },
    reopen() {
      if (closing.signal.aborted) closing = new AbortController();
    },
  };
}
