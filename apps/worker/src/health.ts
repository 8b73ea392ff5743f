import {
  type ChangeFeed,
  type FeedStatus,
  type Lockstep,
  type LockstepStatus,
  messageOf,
  NotReadyError,
  type QueueStatus,
  type Relay,
  type RelayStatus,
} from '@lockstep/core';
import type { Auditor, Consistency } from './audit/auditor.js';
import { bounded } from './bounded.js';
import { Sampler } from './sampler.js';

/** The state of a worker, and of the servers that it depends on. Times are in ms. */
export interface WorkerStatus {
  readonly ready: boolean;
  /** Why it is not ready, a line each. */
  readonly problems: readonly string[];
  /** Whether applications read the cache; the relay and flushes go on in any case. */
  readonly cache: LockstepStatus;
  readonly relay: RelayStatus;
  readonly feeds: readonly FeedHealth[];
  /** `null`: there is no queue, or it does not answer. */
  readonly queue: QueueStatus | null;
  /** What the auditor found; `null`: there is none. */
  readonly consistency: Consistency | null;
  /** For each collection whose writes may be buffered: keys whose newest write the store may not have. */
  readonly unflushed: Readonly<Record<string, number>>;
}

export type FeedHealth = { readonly name: string } & (FeedStatus | { readonly error: string });

const PROBE_TIMEOUT_MS = 2_000;

/** The part of the state that servers have to be asked for. */
interface Seen {
  /** Collections that can't be opened, and a cache that does not take invalidations, a line each. */
  readonly unready: readonly string[];
  readonly feeds: readonly FeedHealth[];
  readonly queue: QueueStatus | Error | null;
  readonly unflushed: Readonly<Record<string, number>>;
}

/** Asks feeds and queue how they are, each within a bound, and at most once in a second, however often it is asked. */
export class Health {
  readonly #lockstep: Lockstep;
  readonly #relay: Relay;
  readonly #maxFeedLagMs: number;
  readonly #auditor: Auditor | undefined;
  readonly #seen = new Sampler(() => this.#look());
  #stopping = false;

  constructor(lockstep: Lockstep, relay: Relay, maxFeedLagMs: number, auditor: Auditor | undefined) {
    this.#auditor = auditor;
    this.#lockstep = lockstep;
    this.#relay = relay;
    this.#maxFeedLagMs = maxFeedLagMs;
  }

  /** From now on not ready, so that nobody sends work. */
  stopping(): void {
    this.#stopping = true;
  }

  async status(): Promise<WorkerStatus> {
    const { feeds, queue, unflushed, unready } = await this.#seen.sample();
    const relay = this.#relay.status();
    const problems = [...unready, ...feeds.flatMap((feed) => this.#feedProblem(feed))];
    if (queue instanceof Error) problems.push(queue.message);
    problems.push(...(relay.refused ?? []));
    if (!relay.running) problems.push('the relay is not running');
    if (this.#stopping) problems.push('the worker is shutting down');
    return {
      ready: problems.length === 0,
      problems,
      cache: this.#lockstep.status(),
      relay,
      feeds,
      queue: queue instanceof Error ? null : queue,
      consistency: this.#auditor?.status ?? null,
      unflushed,
    };
  }

  async #look(): Promise<Seen> {
    const [unready, feeds, queue, unflushed] = await Promise.all([
      this.#unready(),
      Promise.all(this.#feeds()),
      this.#queue(),
      this.#unflushed(),
    ]);
    return { feeds, queue, unflushed, unready };
  }

  async #unready(): Promise<string[]> {
    try {
      await this.#lockstep.open({ timeoutMs: PROBE_TIMEOUT_MS });
      return [];
    } catch (error) {
      if (!(error instanceof NotReadyError)) return [messageOf(error)];
      // The queue is asked for more, below.
      return error.problems.flatMap(({ error: cause, name, part }) =>
        part === 'queue' ? [] : `${part} ${name}: ${messageOf(cause)}`,
      );
    }
  }

  #feeds(): Promise<FeedHealth>[] {
    const sources = new Map<ChangeFeed, Set<string>>();
    for (const { store } of this.#lockstep.collections) {
      if (store.feed === undefined) continue;
      sources.set(store.feed, (sources.get(store.feed) ?? new Set()).add(store.source));
    }
    return [...sources].map(async ([feed, names]) => {
      try {
        const status = await bounded(
          feed.name,
          PROBE_TIMEOUT_MS,
          feed.status([...names], this.#lockstep.prefix),
        );
        return { name: feed.name, ...status };
      } catch (error) {
        return { name: feed.name, error: error instanceof Error ? error.message : String(error) };
      }
    });
  }

  #feedProblem(feed: FeedHealth): string[] {
    if ('error' in feed) return [`feed ${feed.name}: ${feed.error}`];
    if (feed.oldestMs <= this.#maxFeedLagMs) return [];
    return [`feed ${feed.name}: the oldest change is ${Math.round(feed.oldestMs)} ms old`];
  }

  /** Servers that do not answer are left out: the cache may be away, and the worker ready all the same. */
  async #unflushed(): Promise<Record<string, number>> {
    const sizes = await Promise.all(
      this.#lockstep.collections.map(async ({ name, unflushed }) => {
        if (unflushed === undefined) return [];
        const size = await bounded(name, PROBE_TIMEOUT_MS, unflushed()).catch(() => undefined);
        return size === undefined ? [] : [[name, size] as const];
      }),
    );
    return Object.fromEntries(sizes.flat());
  }

  async #queue(): Promise<QueueStatus | Error | null> {
    const { queue } = this.#lockstep;
    if (queue === undefined) return null;
    try {
      return await bounded('queue', PROBE_TIMEOUT_MS, queue.status());
    } catch (error) {
      return new Error(`queue ${queue.name}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
}
