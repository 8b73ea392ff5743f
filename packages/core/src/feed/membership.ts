import type { CacheClient } from '../cache/client.js';
import type { InvalidateCommand } from '../contracts/cache-commands.js';
import type { Clock } from '../contracts/clock.js';
import type { ChangeFeed } from '../contracts/feed.js';
import type { ConsumerRecord, ConsumerState, RecordedCollection } from '../contracts/registry.js';
import type { Version } from '../contracts/version.js';
import type { EventHub } from '../runtime/events.js';

/** What a collection asks of all that this process knows of the registry. */
export interface KnownRegistry {
  /** A write begins: what is known is to be recent when it is acknowledged. */
  touch(): void;
  /** Whether what is known is recent enough to acknowledge by it. */
  isBelieved(): boolean;
  renew(): Promise<void>;
  stateOf(record: ConsumerRecord | undefined): ConsumerState | undefined;
  /** Whether the identity of the cache was seen lately enough to acknowledge by it. */
  isCertain(state: ConsumerState): boolean;
  /** Whether this process's cache was replaced by another one. */
  isLeft(record: ConsumerRecord | undefined): boolean;
}

export interface MembershipOptions {
  readonly collection: RecordedCollection;
  readonly registry: KnownRegistry;
  readonly feed: ChangeFeed;
  readonly cache: CacheClient;
  readonly clock: Clock;
  readonly events: EventHub;
}

const NONE: readonly RecordedCollection[] = [];
/** How often a write that is to be acknowledged reads the registry because it changed meanwhile. */
const MAX_READS = 3;

/** One collection among all that are kept in step with its table, as this process knows them. */
export class Membership {
  readonly collection: RecordedCollection;
  readonly #options: MembershipOptions;
  /** The others; replaced when they change. */
  #siblings: readonly RecordedCollection[] = NONE;
  #state: ConsumerState | undefined;
  /** The cache of this process was replaced by another one: what is put there, others don't see. */
  #left = false;
  /** It was opened here, so that its record has to be there. */
  wanted = false;
  recorded = false;
  #fillsAtMs = Number.POSITIVE_INFINITY;
  #fills = false;

  constructor(options: MembershipOptions) {
    this.collection = options.collection;
    this.#options = options;
  }

  /** It is recorded now, and everyone who writes knows it from a moment on. */
  registered(knownAtMs: number): void {
    this.wanted = true;
    this.recorded = true;
    this.#fillsAtMs = knownAtMs;
  }

  /** What the registry says now; `undefined`: it has no record of the source. */
  update(record: ConsumerRecord | undefined): void {
    const { registry } = this.#options;
    const { name } = this.collection;
    if (!record?.collections.some((each) => each.name === name)) {
      this.recorded = false;
      this.#fills = false;
      this.#fillsAtMs = Number.POSITIVE_INFINITY;
    }
    const state = registry.stateOf(record);
    if (state?.revision !== this.#state?.revision || state?.epoch !== this.#state?.epoch) this.#state = state;
    this.#left = registry.isLeft(record);
    const others = record?.collections.filter((each) => each.name !== name) ?? NONE;
    if (!areSame(others, this.#siblings)) this.#siblings = others.length === 0 ? NONE : others;
  }

  /** Whether a value may be put into the cache: not before every writer knows of it. */
  mayFill(): boolean {
    if (!this.#fills) this.#fills = this.#options.clock.monotonic() >= this.#fillsAtMs;
    return this.#fills;
  }

  /** Called by each write at its begin. */
  touch(): void {
    this.#options.registry.touch();
  }

  /**
   * Makes what the other collections of the table hold of a row unreadable, in the batch that the caller's own
   * command travels in. `undefined`: there are none.
   */
  invalidateOthers(key: string, version: Version): Promise<boolean> | undefined {
    const siblings = this.#siblings;
    return siblings === NONE ? undefined : this.#inStep(siblings, key, version);
  }

  async #inStep(siblings: readonly RecordedCollection[], key: string, version: Version): Promise<boolean> {
    let told: readonly RecordedCollection[] = NONE;
    let now = siblings;
    for (let reads = 0; ; reads++) {
      const missing = now.filter((each) => !told.includes(each));
      if (!(await this.#invalidate(missing, key, version))) return false;
      told = now;
      if (this.#options.registry.isBelieved() && this.#siblings === told) return true;
      if (reads === MAX_READS) return false;
      if (!this.#options.registry.isBelieved()) {
        const read = await this.#options.registry.renew().then(
          () => true,
          () => false,
        );
        if (!read) return false;
      }
      now = this.#siblings;
    }
  }

  async #invalidate(
    collections: readonly RecordedCollection[],
    key: string,
    version: Version,
  ): Promise<boolean> {
    if (collections.length === 0) return true;
    const commands = collections.map(
      ({ holeOnEmpty, holeTtlMs, keyPrefix }): InvalidateCommand => ({
        kind: 'invalidate',
        key: keyPrefix + key,
        version,
        holeOnEmpty,
        holeTtlMs,
      }),
    );
    // One by one, so that they join the batch; `runMany` would have a call of its own.
    const { cache } = this.#options;
    const replies = await Promise.all(
      commands.map((command) => cache.run(command).catch((error: Error) => error)),
    );
    // Another release's entry is left to the feed.
    return !replies.some(
      (reply) => reply instanceof Error || (reply.kind === 'invalidate' && reply.outcome === 'foreign'),
    );
  }

  /** True where a write may be acknowledged at once: there is no other collection, and that was read lately. */
  isAlone(): boolean {
    return this.#siblings === NONE && !this.#left && this.#options.registry.isBelieved();
  }

  /**
   * True once all that the registry records is in step with a change of the row; false where that can't be said now.
   * `begun` is what {@link invalidateOthers} gave.
   */
  async allInStep(begun: Promise<boolean> | undefined, key: string, version: Version): Promise<boolean> {
    const inStep = await (begun ?? this.#inStep(NONE, key, version));
    return inStep && !this.#left;
  }

  /** After a flush, whose own entry holds what the store has: the others, then the feed. Does not reject. */
  async flushed(key: string, version: Version): Promise<void> {
    this.touch();
    if (this.isAlone() || (await this.allInStep(undefined, key, version))) this.acknowledge(key, version);
  }

  /** Tells the feed that the change was dealt with: only where all collections are in step with it. */
  acknowledge(key: string, version: Version): void {
    const { events, feed, registry } = this.#options;
    const state = this.#state;
    if (state === undefined || !registry.isCertain(state)) return;
    try {
      feed.acknowledge([{ source: this.collection.source, key, version }], state);
    } catch (error) {
      events.error.emit({ where: 'acknowledge', error });
    }
  }
}

function areSame(a: readonly RecordedCollection[], b: readonly RecordedCollection[]): boolean {
  return (
    a.length === b.length &&
    a.every((each, i) => {
      const other = b[i];
      return (
        each.keyPrefix === other?.keyPrefix &&
        each.holeTtlMs === other.holeTtlMs &&
        each.holeOnEmpty === other.holeOnEmpty
      );
    })
  );
}
