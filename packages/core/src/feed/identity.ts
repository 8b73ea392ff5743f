import type { CacheClient } from '../cache/client.js';
import type { CacheAdapter } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';
import { CacheUnavailableError } from '../errors.js';
import { Deadline } from '../kit/wait.js';

export interface CacheIdentityOptions {
  readonly adapter: CacheAdapter;
  readonly cache: CacheClient;
  readonly clock: Clock;
  /** The start of the keys that belong to no collection. */
  readonly prefix: string;
}

/** Longer than an adapter waits for one of several primaries; an answer that is older is of no use. */
const TIMEOUT_MS = 2_500;

/** The identity of the cache that this process's own connections lead to, as far as the cache tells. */
export class CacheIdentity {
  readonly #options: CacheIdentityOptions;
  /** The whole identity when it was asked for last. */
  whole: string | undefined;
  /** The identity of the primaries that answered. */
  #parts: readonly string[] | undefined;
  #seenAtMs = Number.NEGATIVE_INFINITY;
  /** How many primaries there were, each of which may lose writes by itself. */
  primaries = 1;

  constructor(options: CacheIdentityOptions) {
    this.#options = options;
  }

  /** Asks the cache. `undefined`: it does not tell, or not all of it. Does not reject. */
  async ask(): Promise<string | undefined> {
    const { adapter, cache, clock } = this.#options;
    if (!adapter.shared) return undefined;
    const late = (): Error =>
      new CacheUnavailableError(`the cache did not describe itself within ${TIMEOUT_MS} ms`);
    const deadline = new Deadline({ clock, timeoutMs: TIMEOUT_MS, late });
    const askedAtMs = clock.monotonic();
    try {
      const { generation, primaries = 1 } = await deadline.bound(cache.open().then(() => adapter.info()));
      const parts = generation?.split(',') ?? (await deadline.bound(this.#answering()));
      if (parts === undefined) return undefined;
      this.whole = generation;
      this.#parts = parts;
      this.#seenAtMs = askedAtMs;
      this.primaries = primaries;
      return generation;
    } catch {
      return undefined;
    }
  }

  /** The identities of the primaries that answer, where some are away or tell none. */
  async #answering(): Promise<readonly string[] | undefined> {
    const { adapter, prefix } = this.#options;
    const probes = await adapter.probe(prefix);
    const answers = [...probes.values()].flatMap((answer) => (answer instanceof Error ? [] : [answer]));
    return answers.length === 0 ? undefined : answers.flatMap(({ generation }) => generation ?? []);
  }

  /** True when the cache has answered a question that was asked within the last `ms`. */
  wasSeenWithin(ms: number, nowMs = this.#options.clock.monotonic()): boolean {
    return nowMs - this.#seenAtMs <= ms;
  }

  /** True when this process's connections lead to the cache of that identity. */
  leadsTo(identity: string | undefined): boolean {
    if (this.#parts === undefined || identity === undefined) return false;
    if (this.whole !== undefined) return this.whole === identity;
    const primaries = identity.split(',');
    return this.#parts.every((part) => primaries.includes(part));
  }
}
