import type { Clock } from '../contracts/clock.js';
import type { Change, ChangeFeed, FeedConsumeOptions, FeedStatus } from '../contracts/store.js';
import { ClosedError, InvalidOptionError } from '../errors.js';
import { numberOption } from '../options.js';
import { Pending, type PendingChange } from './store-pending.js';

export interface MemoryFeedOptions {
  readonly name: string;
  readonly clock: Clock;
  /** How long a change made through the adapter is left to its writer's acknowledgement. */
  readonly graceMs: number;
  /** Changes since a time, from the rows' own record. */
  readonly changedSince: (sinceMs: number, sources: readonly string[]) => Change[];
}

/** The feed, and what the database does with it. */
export interface MemoryFeed extends ChangeFeed {
  append(change: Change, own: boolean): void;
  /** Changes that nobody has taken. */
  readonly size: number;
}

const FIRST_BACKOFF_MS = 10;
const MAX_BACKOFF_MS = 1_000;

/** A change feed in memory: the newest change of each row, until a handler or its writer has taken it. */
export function memoryFeed({ name, clock, graceMs, changedSince }: MemoryFeedOptions): MemoryFeed {
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

  function claim(wanted: readonly string[], limit: number): PendingChange[] {
    const batch: PendingChange[] = [];
    for (const source of wanted) {
      batch.push(...pendingOf(source).take(limit - batch.length, clock.now()));
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
    return numberOption(options.batchSize, 500, 'feed.batchSize', { min: 1, max: 100_000 });
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

  return {
    name,
    get size() {
      return claimed.size + [...sources.values()].reduce((sum, pending) => sum + pending.size, 0);
    },
    append(change, own) {
      pendingOf(change.source).add(
        { change, sinceMs: change.changedAtMs },
        own && graceMs > 0 ? clock.now() + graceMs : undefined,
      );
      wakeAll();
    },
    async consume(handler, options) {
      const batchSize = checkOptions(options);
      let backoffMs = FIRST_BACKOFF_MS;
      while (!options.signal.aborted && !closed) {
        const batch = claim(options.sources, batchSize);
        if (batch.length === 0) {
          await pause(options.signal, nextVisibleInMs(options.sources), true);
          continue;
        }
        const changes = batch.map((item) => item.change);
        const taken = await handOver(changes, handler, options);
        for (const item of batch) {
          claimed.delete(item);
          if (!taken) pendingOf(item.change.source).add(item, undefined);
        }
        if (taken) {
          backoffMs = FIRST_BACKOFF_MS;
          continue;
        }
        await pause(options.signal, backoffMs, false);
        backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS);
      }
    },
    acknowledge(changes) {
      for (const { source, key, version } of changes) sources.get(source)?.acknowledge(key, version);
    },
    async status(wanted): Promise<FeedStatus> {
      const waiting = wanted.flatMap((source) => [...(sources.get(source)?.all() ?? [])]);
      const active = [...claimed].filter((item) => wanted.includes(item.change.source));
      const since = [...waiting, ...active].map((item) => item.sinceMs);
      if (since.length === 0) return { pending: 0, oldestMs: 0 };
      const oldest = since.reduce((least, at) => Math.min(least, at), Number.POSITIVE_INFINITY);
      return { pending: since.length, oldestMs: Math.max(0, clock.now() - oldest) };
    },
    async replay(sinceMs, handler, options) {
      const batchSize = checkOptions(options);
      const changes = changedSince(sinceMs, options.sources);
      let backoffMs = FIRST_BACKOFF_MS;
      for (let at = 0; at < changes.length && !options.signal.aborted && !closed; ) {
        if (await handOver(changes.slice(at, at + batchSize), handler, options)) {
          at += batchSize;
          backoffMs = FIRST_BACKOFF_MS;
        } else {
          await pause(options.signal, backoffMs, false);
          backoffMs = Math.min(backoffMs * 2, MAX_BACKOFF_MS);
        }
      }
    },
    async close() {
      closed = true;
      wakeAll();
    },
  };
}
