import type { CacheClient } from '../cache/client.js';
import type { Clock } from '../contracts/clock.js';
import type { RecordedCollection } from '../contracts/registry.js';
import { StoreUnavailableError } from '../errors.js';
import { Backoff } from '../kit/backoff.js';
import type { EventHub } from '../runtime/events.js';
import type { Membership } from './membership.js';
import { resetCollections } from './reset.js';

export interface SuspensionsOptions {
  readonly cache: CacheClient;
  readonly clock: Clock;
  readonly events: EventHub;
  readonly lifecycle: { readonly closed: boolean };
  readonly members: (source: string) => readonly Membership[];
  /** Every collection of a source, of this process and of others. */
  readonly collections: (source: string) => readonly RecordedCollection[];
  /** Reads the registry, and records what is missing there. */
  readonly renew: () => Promise<void>;
}

const BETWEEN_TRIES = { firstMs: 100, lastMs: 2_000 };

/**
 * The sources that the store does not keep in step now: a table that was detached under the running process. Nothing of
 * them is read from the cache or put there. Entries of before become unreadable when it is noticed, so that other
 * processes ask the store, too, and notice it; and once more before the cache is used again.
 */
export class Suspensions {
  readonly #options: SuspensionsOptions;
  /** By source: whether the store keeps it in step again. */
  readonly #kept = new Map<string, boolean>();

  constructor(options: SuspensionsOptions) {
    this.#options = options;
  }

  has(source: string): boolean {
    return this.#kept.has(source);
  }

  /** The store does not keep the source in step any more. */
  suspend(source: string, reason: string): void {
    const { events } = this.#options;
    const known = this.#kept.has(source);
    this.#kept.set(source, false);
    this.#mark(source, true);
    if (known) return;
    events.suspension.emit({ source, state: 'suspended', reason });
    this.#reset(source).catch((error: unknown) => events.error.emit({ where: 'suspension', error }));
  }

  resume(source: string): void {
    if (this.#kept.get(source) !== false) return;
    this.#kept.set(source, true);
    void this.#resume(source);
  }

  async #resume(source: string): Promise<void> {
    const { clock, events, lifecycle } = this.#options;
    const backoff = new Backoff({ ...BETWEEN_TRIES, clock });
    while (this.#kept.get(source) === true && !lifecycle.closed) {
      try {
        await this.#prepare(source);
        if (this.#kept.get(source) !== true) return;
        this.#kept.delete(source);
        this.#mark(source, false);
        events.suspension.emit({ source, state: 'resumed' });
        return;
      } catch (error) {
        events.error.emit({ where: 'suspension', error });
        await backoff.wait();
      }
    }
  }

  /** Makes sure that all writers know of the collections, and that no entry from before is left. */
  async #prepare(source: string): Promise<void> {
    const { members, renew } = this.#options;
    // The first may be one that was under way.
    await renew();
    await renew();
    if (!members(source).every(({ recorded }) => recorded)) {
      throw new StoreUnavailableError(
        `the registry does not know the collections of "${source}" yet`,
        'not-committed',
      );
    }
    await this.#reset(source);
  }

  #mark(source: string, suspended: boolean): void {
    for (const member of this.#options.members(source)) member.suspended = suspended;
  }

  #reset(source: string): Promise<number> {
    const { cache, collections } = this.#options;
    return resetCollections(cache, collections(source));
  }
}
