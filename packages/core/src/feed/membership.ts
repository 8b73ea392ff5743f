import type { CacheClient } from '../cache/client.js';
import type { Clock } from '../contracts/clock.js';
import type { ChangedTexts } from '../contracts/declared.js';
import type { Change } from '../contracts/feed.js';
import type { ConsumerRecord, ConsumerState, RecordedCollection } from '../contracts/registry.js';
import type { Version } from '../contracts/version.js';
import { invalidations, type RowChange, tells } from './invalidations.js';

/** This process's knowledge of the registry, as a collection needs it. */
export interface KnownRegistry {
  /** A write begins: the registry is read again in time, so that the record is recent when the write is acknowledged. */
  touch(): void;
  /** True while the record is recent enough to acknowledge a write by it. `nowMs`: the clock's `monotonic`. */
  isBelieved(nowMs?: number): boolean;
  renew(): Promise<void>;
  acknowledge(change: Pick<Change, 'source' | 'key' | 'version'>, under: ConsumerState, nowMs?: number): void;
}

export interface MembershipOptions {
  readonly collection: RecordedCollection;
  /** True: other caches of the table are meant to be there. */
  readonly additional: boolean;
  readonly registry: KnownRegistry;
  readonly cache: CacheClient;
  readonly clock: Clock;
}

const NONE: readonly RecordedCollection[] = [];
/** A time in the past, by the clock's `monotonic`. */
const LONG_SINCE = Number.NEGATIVE_INFINITY;
/** How often a write that is to be acknowledged reads the registry because it changed meanwhile. */
const MAX_READS = 3;

/** One collection among all that are kept in step with its table, as this process knows them. */
export class Membership {
  readonly collection: RecordedCollection;
  readonly additional: boolean;
  /** True while the store does not keep the rows in step: nothing of them is read from the cache, or put there. */
  suspended = false;
  readonly #options: MembershipOptions;
  /** The others; replaced when they change. */
  #siblings = NONE;
  #state: ConsumerState | undefined;
  /** The cache of this process was replaced by another one: what is put there, others don't see. */
  #left = false;
  /** When it may fill, by the clock's `monotonic`: infinite while it is not recorded, `undefined` while it was never opened. */
  #fillsAtMs: number | undefined;

  constructor(options: MembershipOptions) {
    this.collection = options.collection;
    this.additional = options.additional;
    this.#options = options;
  }

  get recorded(): boolean {
    return this.#fillsAtMs !== undefined && this.#fillsAtMs !== Number.POSITIVE_INFINITY;
  }

  /** True when the collection was opened here and its record is gone. */
  get missing(): boolean {
    return this.#fillsAtMs === Number.POSITIVE_INFINITY;
  }

  /** Notes that the collection is recorded, and from when on everyone who writes knows of it. */
  registered(knownAtMs: number): void {
    this.#fillsAtMs = knownAtMs;
  }

  /** Takes over the registry's present record, and the state to acknowledge under; `undefined`: there is none. */
  update(record: ConsumerRecord | undefined, state: ConsumerState | undefined, left: boolean): void {
    const { name } = this.collection;
    const all = record?.collections ?? NONE;
    const others = all.filter((each) => each.name !== name);
    if (others.length === all.length && this.#fillsAtMs !== undefined) {
      this.#fillsAtMs = Number.POSITIVE_INFINITY;
    }
    // Feeds group by it.
    if (state?.revision !== this.#state?.revision || state?.epoch !== this.#state?.epoch) this.#state = state;
    this.#left = left;
    if (!areSame(others, this.#siblings)) this.#siblings = others.length === 0 ? NONE : others;
  }

  /** True when a value may be put into the cache: every writer knows of this collection. */
  mayFill(): boolean {
    if (this.suspended || this.#fillsAtMs === undefined) return false;
    if (this.#fillsAtMs === LONG_SINCE) return true;
    if (this.#options.clock.monotonic() < this.#fillsAtMs) return false;
    // The clock never steps back: nobody has to look at it again.
    this.#fillsAtMs = LONG_SINCE;
    return true;
  }

  /** Called by each write at its begin. */
  touch(): void {
    this.#options.registry.touch();
  }

  /**
   * Makes what the other collections of the table hold of a row unreadable, in the batch that the caller's own
   * command travels in, and whatever lookups find it by what it had or gets. `undefined`: there are none.
   *
   * @param written tells the texts of what was written
   */
  invalidateOthers(key: string, version: Version, written?: ChangedTexts): Promise<boolean> | undefined {
    if (this.#siblings === NONE) return undefined;
    return this.#inStep(this.#siblings, { key, version, texts: written?.texts });
  }

  /** Invalidates the collections that are known now, and those that turn out to be recorded meanwhile. */
  async #inStep(known: readonly RecordedCollection[], change: RowChange): Promise<boolean> {
    const { registry } = this.#options;
    let told = NONE;
    let now = known;
    for (let reads = 0; ; reads++) {
      const missing = now.filter((each) => !told.includes(each));
      if (!(await this.#invalidate(missing, change))) return false;
      told = now;
      if (registry.isBelieved() && this.#siblings === told) return true;
      if (reads === MAX_READS) return false;
      if (!registry.isBelieved() && !(await succeeds(registry.renew()))) return false;
      now = this.#siblings;
    }
  }

  /** False where the cache did not take it, an entry is another release's, or texts are not known: left to the feed. */
  async #invalidate(collections: readonly RecordedCollection[], change: RowChange): Promise<boolean> {
    if (!collections.every((each) => tells(change, each))) return false;
    // One by one, so that they join the batch of the caller's own command.
    const commands = invalidations([change], collections);
    const running = commands.map((command) => this.#options.cache.run(command));
    const replies = await Promise.allSettled(running);
    return replies.every((reply) => reply.status === 'fulfilled' && reply.value.outcome !== 'foreign');
  }

  /**
   * Acknowledges a change of a row to the feed once all collections that the registry records are in step with it.
   * False where that can't be said now: the feed holds the change, and the relay brings in step what could not be
   * reached. A promise only where somebody has to be waited for; it does not reject.
   *
   * @param begun what {@link invalidateOthers} gave
   * @param written as it was given
   * @param nowMs the clock's `monotonic`, where it is known
   */
  dealtWith(
    begun: Promise<boolean> | undefined,
    key: string,
    version: Version,
    written?: ChangedTexts,
    nowMs?: number,
  ): boolean | Promise<boolean> {
    const alone = this.#siblings === NONE && !this.#left && this.#options.registry.isBelieved(nowMs);
    if (alone) return this.#acknowledged(key, version, nowMs);
    return (begun ?? this.#inStep(NONE, { key, version, texts: written?.texts })).then(
      (inStep) => inStep && !this.#left && this.#acknowledged(key, version),
    );
  }

  #acknowledged(key: string, version: Version, nowMs?: number): true {
    const { source } = this.collection;
    const state = this.#state;
    if (state !== undefined) this.#options.registry.acknowledge({ source, key, version }, state, nowMs);
    return true;
  }
}

function succeeds(work: Promise<unknown>): Promise<boolean> {
  return work.then(
    () => true,
    () => false,
  );
}

function areSame(a: readonly RecordedCollection[], b: readonly RecordedCollection[]): boolean {
  const text = (each: RecordedCollection): string =>
    JSON.stringify([each.keyPrefix, each.holeTtlMs, each.holeOnEmpty, each.lookup, each.tags]);
  return a.length === b.length && a.every((each, i) => text(each) === text(b[i] as RecordedCollection));
}
