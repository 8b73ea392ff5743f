import type { ChangeFeed } from '../contracts/feed.js';
import { InvalidOptionError, StoreTimeoutError, UnsupportedError } from '../errors.js';
import { Consumer } from '../feed/consumer.js';
import { withTimeout } from '../kit/wait.js';
import type { Collections } from './collections.js';
import type { EngineContext } from './context.js';

/** The bound of a feed's answer about what is pending. */
const STATUS_TIMEOUT_MS = 2_000;

/** The consumers of one Lockstep, one for each feed: what this process knows of its registry. */
export class Consumers {
  readonly #context: () => EngineContext;
  readonly #collections: Collections;
  readonly #byFeed = new Map<ChangeFeed, Consumer>();
  readonly #listeners = new Set<(consumer: Consumer) => void>();

  constructor(context: () => EngineContext, collections: Collections) {
    this.#context = context;
    this.#collections = collections;
  }

  get all(): Consumer[] {
    return [...this.#byFeed.values()];
  }

  /** Calls back with each further consumer; returns what removes the listener. */
  onNext(listener: (consumer: Consumer) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  of(feed: ChangeFeed): Consumer {
    const known = this.#byFeed.get(feed);
    if (known !== undefined) return known;
    const context = this.#context();
    const consumer = new Consumer({ ...context, feed, name: context.prefix });
    this.#byFeed.set(feed, consumer);
    for (const listener of [...this.#listeners]) listener(consumer);
    return consumer;
  }

  /**
   * Switches the cache off, or on again, for every process: in each store that this process has a collection of. Resolves
   * with the sources. Rejects with `UnsupportedError`, with `InvalidOptionError` where no store knows the cache, and with
   * the first store's error, once all were told.
   */
  async switch(off: boolean): Promise<readonly string[]> {
    const feeds = [...this.#collections.feeds().keys()];
    if (feeds.length === 0) {
      const instead = 'set `enabled` in each process, or LOCKSTEP_DISABLED';
      throw new UnsupportedError(
        `no collection has a store with a registry that all processes read: ${instead}`,
      );
    }
    const answers = await Promise.allSettled(feeds.map((feed) => this.of(feed).switch(off)));
    const failed = answers.find((answer) => answer.status === 'rejected');
    if (failed !== undefined) throw failed.reason;
    const sources = answers.flatMap((answer) => (answer.status === 'fulfilled' ? answer.value : []));
    if (sources.length > 0) return sources;
    const { prefix } = this.#context();
    throw new InvalidOptionError('prefix', `no store has a record of a cache of prefix "${prefix}"`);
  }

  /** True when nothing that was changed before the time waits in a feed. */
  async drained(beforeMs: number): Promise<boolean> {
    const { clock, prefix } = this.#context();
    const late = (): Error => new StoreTimeoutError('the feed did not say what is pending');
    for (const [feed, sources] of this.#collections.feeds()) {
      // Ages are compared, since the clocks differ: what is no older than this was changed afterwards.
      const agoMs = clock.monotonic() - beforeMs;
      const status = await withTimeout(clock, feed.status([...sources], prefix), STATUS_TIMEOUT_MS, late);
      if (status.pending > 0 && status.oldestMs >= agoMs) return false;
    }
    return true;
  }
}
