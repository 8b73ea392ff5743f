import type { Clock } from '../../contracts/clock.js';
import type { Change, ChangeFeed, FeedConsumeOptions, FeedStatus } from '../../contracts/feed.js';
import type { ConsumerState } from '../../contracts/registry.js';
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

/** Without jitter: the readers of a feed in memory are one process. */
const AFTER_FAILURES = { firstMs: 10, lastMs: 1_000, jitter: 0 };
/** How often a claimant that takes no changes of some source is asked again. */
const UNCLAIMED_MS = 100;

/** A change feed in memory: the newest change of each row, until a handler or its writer has taken it. */
export function memoryFeed(feedOptions: MemoryFeedOptions): MemoryFeed {
  const { name, clock, graceMs, changedSince, commits } = feedOptions;
  const registry = memoryRegistry({ clock, position });
  const sources = new Map<string, Pending>();
  const claimed = new Set<PendingChange>();
  const wakers = new Set<() => void>();
  let closed = false;

  function pendingOf(source: string): Pending {
    let pending = sources.get(source);
    if (pending === undefined) {
      pending = new Pending();
      sources.set(source, pending);
    }
    return pending;
  }

  /** Of changes that a consumer has not dealt with the oldest, or the next one. */
  function position(consumer: string, source: string): string {
    const waiting = [...(sources.get(source)?.all() ?? []), ...claimed].filter(
      ({ change, done }) => change.source === source && !done.includes(consumer),
    );
    return String(waiting.reduce((least, { commit }) => Math.min(least, commit), commits() + 1));
  }

  /** A change that a consumer has dealt with, as long as others have not. */
  function left(item: PendingChange, consumer: string | undefined): PendingChange | undefined {
    if (consumer === undefined) return undefined;
    const done = [...item.done, consumer];
    const all = registry.consumersOf(item.change.source).every((other) => done.includes(other));
    return all ? undefined : { ...item, done };
  }

  function wakeAll(): void {
    for (const wake of [...wakers]) wake();
  }

  /** Resolves at the next append, abort or close, or after `delayMs`. */
  function pause(signal: AbortSignal, delayMs: number | undefined, wakeable: boolean): Promise<void> {
    if (signal.aborted || closed) return Promise.resolve();
    return new Promise((resolve) => {
      const cancel = delayMs === undefined ? undefined : clock.schedule(finish, delayMs);
      function finish(): void {
        cancel?.();
        wakers.delete(onWake);
        signal.removeEventListener('abort', finish);
        resolve();
      }
      function onWake(): void {
        if (wakeable || closed) finish();
      }
      wakers.add(onWake);
      signal.addEventListener('abort', finish, { once: true });
    });
  }

  function claim(wanted: readonly string[], limit: number, consumer: string | undefined): PendingChange[] {
    const batch: PendingChange[] = [];
    for (const source of wanted) {
      batch.push(...pendingOf(source).take(limit - batch.length, clock.now(), consumer));
    }
    for (const item of batch) claimed.add(item);
    return batch;
  }

  function nextVisibleInMs(wanted: readonly string[]): number | undefined {
    const times = wanted
      .map((source) => pendingOf(source).nextVisibleAtMs())
      .filter((at) => at !== undefined);
    return times.length === 0 ? undefined : Math.max(0, Math.min(...times) - clock.now());
  }

  function checkOptions(options: FeedConsumeOptions): number {
    if (closed) throw new ClosedError(`the change feed ${name} is closed`);
    if (!Array.isArray(options.sources) || options.sources.length === 0) {
      throw new InvalidOptionError('feed.sources', 'must name at least one source');
    }
    return optionValue(options.batchSize, BATCH_SIZE, 'feed.batchSize');
  }

  function report(options: FeedConsumeOptions, error: unknown): void {
    try {
      options.onError?.(error);
    } catch {
      // A listener's own failure must not end the feed.
    }
  }

  /** Hands a batch over until it is taken; false when the signal came first. */
  async function handOver(
    changes: readonly Change[],
    handler: (changes: readonly Change[]) => Promise<void>,
    options: FeedConsumeOptions,
  ): Promise<boolean> {
    try {
      await handler(changes);
      return true;
    } catch (error) {
      report(options, error);
      return false;
    }
  }

  /** What each source's claim goes by; none for those whose changes the claimant does not take now. */
  function statesOf({ claimant, sources }: FeedConsumeOptions): ConsumerState[] {
    return claimant === undefined ? [] : sources.flatMap((source) => claimant.state(source) ?? []);
  }

  return {
    name,
    registry,
    get size() {
      return claimed.size + [...sources.values()].reduce((sum, pending) => sum + pending.size, 0);
    },
    append(change, own, commit) {
      pendingOf(change.source).add(
        { change, sinceMs: change.changedAtMs, commit, done: [] },
        own && graceMs > 0 ? clock.now() + graceMs : undefined,
      );
      wakeAll();
    },
    async consume(handler, options) {
      const batchSize = checkOptions(options);
      const { claimant, signal } = options;
      const backoff = new Backoff(AFTER_FAILURES);
      while (!signal.aborted && !closed) {
        const states = statesOf(options);
        const wanted = claimant === undefined ? options.sources : states.map(({ source }) => source);
        const batch = claim(wanted, batchSize, claimant?.consumer);
        if (batch.length === 0) {
          const idleMs = wanted.length < options.sources.length ? UNCLAIMED_MS : nextVisibleInMs(wanted);
          await pause(signal, idleMs, true);
          continue;
        }
        const changes = batch.map((item) => item.change);
        const handled = await handOver(changes, handler, options);
        const taken = handled && states.every((state) => registry.stands(state));
        for (const item of batch) {
          claimed.delete(item);
          const rest = taken ? left(item, claimant?.consumer) : item;
          if (rest !== undefined) pendingOf(item.change.source).add(rest, undefined);
        }
        if (taken) {
          backoff.reset();
          wakeAll();
          continue;
        }
        if (handled) await claimant?.differs();
        await pause(signal, backoff.nextMs(), false);
      }
    },
    acknowledge(changes, under) {
      if (under !== undefined && !registry.stands(under)) return;
      for (const { source, key, version } of changes) {
        sources.get(source)?.acknowledge(key, version, (item) => left(item, under?.consumer));
      }
    },
    async status(wanted, consumer): Promise<FeedStatus> {
      const waiting = wanted.flatMap((source) => [...(sources.get(source)?.all() ?? [])]);
      const active = [...claimed].filter((item) => wanted.includes(item.change.source));
      const since = [...waiting, ...active]
        .filter(({ done }) => consumer === undefined || !done.includes(consumer))
        .map((item) => item.sinceMs);
      if (since.length === 0) return { pending: 0, oldestMs: 0 };
      const oldest = since.reduce((least, at) => Math.min(least, at), Number.POSITIVE_INFINITY);
      return { pending: since.length, oldestMs: Math.max(0, clock.now() - oldest) };
    },
    async replay(since, handler, options) {
      const batchSize = checkOptions(options);
      const changes: Change[] = [];
      for (const source of options.sources) {
        const commits = (since.get(source) ?? []).map(Number);
        const found = commits.length === 0 ? undefined : changedSince(source, Math.min(...commits));
        if (found === undefined) await options.onReset?.(source, NO_VERSION);
        else changes.push(...found);
      }
      const backoff = new Backoff(AFTER_FAILURES);
      for (let at = 0; at < changes.length && !options.signal.aborted && !closed; ) {
        if (await handOver(changes.slice(at, at + batchSize), handler, options)) {
          at += batchSize;
          backoff.reset();
        } else {
          await pause(options.signal, backoff.nextMs(), false);
        }
      }
    },
    async close() {
      closed = true;
      wakeAll();
    },
  };
}
