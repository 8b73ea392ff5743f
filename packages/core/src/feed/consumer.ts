import type { CacheClient } from '../cache/client.js';
import type { CacheAdapter } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';
import type { ChangeFeed, FeedClaimant } from '../contracts/feed.js';
import type { ConsumerRecord, ConsumerState, RecordedCollection } from '../contracts/registry.js';
import { StoreTimeoutError } from '../errors.js';
import { withTimeout } from '../kit/wait.js';
import { keyPrefix } from '../protocol/key.js';
import type { EventHub } from '../runtime/events.js';
import { CacheIdentity } from './identity.js';
import { type KnownRegistry, Membership } from './membership.js';
import { RecordJudge } from './recorded.js';
import { SEARCH_MS, startEpoch } from './start-epoch.js';

export interface ConsumerOptions {
  readonly feed: ChangeFeed;
  /** The consumer's name. */
  readonly name: string;
  readonly adapter: CacheAdapter;
  readonly cache: CacheClient;
  readonly clock: Clock;
  readonly events: EventHub;
  readonly nextToken: () => string;
}

/** While there are writes, what is known of the registry is read again after so long. */
const RENEW_MS = 1_000;
/** Older than this it is not believed: no write is acknowledged by it. */
const BELIEVED_MS = 3_000;
/**
 * A collection that was recorded beside others fills nothing for so long: whoever does not know it yet has
 * stopped believing then. The margin is for clocks that run at different speeds.
 */
const UNSEEN_MS = BELIEVED_MS + 200;
/** A registry that changed this long ago, by the store's clock, is known to everyone, even if that clock was set. */
const LONG_AGO_MS = 60_000;
/** The bound of what a write may wait for. */
const READ_TIMEOUT_MS = 1_000;
const CHANGE_TIMEOUT_MS = 5_000;

/**
 * What this process knows of the registry of one feed: which collections, of any process, are kept in step
 * with its rows, and which generation of the cache is the present one. It is read in the background while there
 * are writes, and believed for a bounded time. By durations only: no two clocks are compared.
 */
export class Consumer implements FeedClaimant, KnownRegistry {
  readonly feed: ChangeFeed;
  readonly consumer: string;
  readonly #options: ConsumerOptions;
  readonly #members: Membership[] = [];
  /** Only what {@link RecordJudge} believes. */
  readonly #records = new Map<string, ConsumerRecord>();
  readonly #judge: RecordJudge;
  readonly #listeners = new Set<() => void>();
  readonly #identity: CacheIdentity;
  /** By source. */
  readonly #registering = new Map<string, Promise<void>>();
  #readAtMs = Number.NEGATIVE_INFINITY;
  #renewing: Promise<void> | undefined;

  constructor(options: ConsumerOptions) {
    this.feed = options.feed;
    this.consumer = options.name;
    this.#options = options;
    this.#judge = new RecordJudge(options.name, options.events);
    // Collections have names, so an empty one can't collide.
    this.#identity = new CacheIdentity({ ...options, prefix: keyPrefix(options.name, '') });
  }

  join(collection: RecordedCollection): Membership {
    const member = new Membership({ ...this.#options, collection, registry: this });
    this.#members.push(member);
    this.#changed();
    return member;
  }

  /** The sources of this process's collections, and those that are recorded of others'. */
  sources(): string[] {
    return [
      ...new Set([...this.#members.map(({ collection }) => collection.source), ...this.#records.keys()]),
    ];
  }

  /** Every collection of a source, of this process and of others. */
  collections(source: string): RecordedCollection[] {
    const found = new Map<string, RecordedCollection>();
    for (const { collection } of this.#members) {
      if (collection.source === source) found.set(collection.keyPrefix, collection);
    }
    for (const each of this.#records.get(source)?.collections ?? []) found.set(each.keyPrefix, each);
    return [...found.values()];
  }

  /** Records what this process keeps of a source, before anything of it is cached. Rejects where that fails. */
  async open(source: string): Promise<void> {
    const underWay = this.#registering.get(source);
    if (underWay !== undefined) await underWay;
    const members = this.#members.filter((member) => member.collection.source === source);
    if (members.every(({ recorded }) => recorded)) return;
    const registering = this.#register(members).finally(() => this.#registering.delete(source));
    this.#registering.set(source, registering);
    await registering;
    this.touch();
  }

  async #register(members: readonly Membership[]): Promise<void> {
    const { clock, feed } = this.#options;
    const collections = members.map(({ collection }) => collection);
    const registering = feed.registry.register(this.consumer, collections);
    const records = await this.#read(registering, CHANGE_TIMEOUT_MS);
    const nowMs = clock.monotonic();
    this.#apply(records);
    const elsewhere = await this.#startEpochs(records);
    for (const { changedAgoMs, revision, source } of records) {
      // Nobody wrote of a consumer's source before its first record.
      const known = revision === 1 || changedAgoMs >= LONG_AGO_MS;
      const knownAtMs = known ? nowMs : nowMs + UNSEEN_MS;
      const fillsAtMs = elsewhere.includes(source)
        ? Math.max(knownAtMs, clock.monotonic() + SEARCH_MS)
        : knownAtMs;
      for (const member of members) if (member.collection.source === source) member.registered(fillsAtMs);
    }
    this.#apply([]);
  }

  /** Answers the sources that somebody else searches for or replays. Does not reject: a relay makes up for what fails. */
  async #startEpochs(records: readonly ConsumerRecord[]): Promise<readonly string[]> {
    const due = records.filter(({ epoch, replayed }) => epoch === 0 || !replayed);
    const sources = due.map(({ source }) => source);
    if (sources.length === 0) return [];
    const context = {
      ...this.#options,
      identity: this.#identity,
      begin: (of: readonly string[], identity: string) => this.#begin(of, identity),
      collections: (source: string) => this.collections(source),
    };
    try {
      return await this.#bounded(startEpoch(context, sources), CHANGE_TIMEOUT_MS);
    } catch (error) {
      this.#options.events.error.emit({ where: 'registry', error });
      return [];
    }
  }

  /** A cache whose identity is a new one gets an epoch of its own. */
  async #begin(sources: readonly string[], identity: string): Promise<readonly ConsumerRecord[]> {
    const observing = this.feed.registry.observe(this.consumer, sources, identity);
    const records = await this.#read(observing, CHANGE_TIMEOUT_MS);
    this.#apply(records);
    return records;
  }

  /** Called by each write at its begin: what is known is to be recent when it is acknowledged. */
  touch(): void {
    if (this.#renewing === undefined && this.#options.clock.monotonic() - this.#readAtMs > RENEW_MS) {
      this.renew().catch(() => undefined);
    }
  }

  /** Whether what is known is recent enough to acknowledge by it. */
  isBelieved(): boolean {
    return this.#options.clock.monotonic() - this.#readAtMs <= BELIEVED_MS;
  }

  /** Reads the registry; joins a read under way. Rejects where it can't be read. */
  renew(): Promise<void> {
    this.#renewing ??= this.#renew()
      .catch((error: unknown) => {
        this.#options.events.error.emit({ where: 'registry', error });
        throw error;
      })
      .finally(() => {
        this.#renewing = undefined;
      });
    return this.#renewing;
  }

  async #renew(): Promise<void> {
    const { clock, feed } = this.#options;
    const sentAtMs = clock.monotonic();
    // Not waited for: a cache that hangs says nothing of the registry.
    void this.#identity.ask().then(() => this.#apply([]));
    const records = await this.#read(feed.registry.read(this.consumer, this.sources()), READ_TIMEOUT_MS);
    this.#readAtMs = sentAtMs;
    this.#replace(records);
    await this.#registerMissing();
    await this.#beginNext(records);
  }

  /**
   * Without a relay, too, a cache that was replaced gets its epoch, or nothing would be acknowledged any more. An
   * identity that was left is brought back by relays alone, which see it all the time.
   */
  async #beginNext(records: readonly ConsumerRecord[]): Promise<void> {
    const { whole } = this.#identity;
    if (whole === undefined) return;
    const replaced = records.filter(
      ({ epoch, identity, left }) => epoch > 0 && identity !== whole && !left.includes(whole),
    );
    const sources = replaced.map(({ source }) => source);
    if (sources.length > 0) await this.#begin(sources, whole);
  }

  /** As the relay does it, which waits for the cache. None where its identity is not known. */
  async observe(): Promise<readonly ConsumerRecord[]> {
    // Whoever registers searches an empty cache, which is quicker than a replay.
    await Promise.allSettled(this.#registering.values());
    const sentAtMs = this.#options.clock.monotonic();
    const identity = await this.#identity.ask();
    if (identity === undefined) {
      await this.renew();
      return [];
    }
    const observing = this.feed.registry.observe(this.consumer, this.sources(), identity);
    const records = await this.#read(observing, CHANGE_TIMEOUT_MS);
    this.#readAtMs = sentAtMs;
    this.#replace(records);
    await this.#registerMissing();
    return records.filter((record) => record.identity === identity);
  }

  /** How many primaries the cache has, as far as is known. */
  get primaries(): number {
    return this.#identity.primaries;
  }

  /** The store may have lost its registry, and gets back what was opened here. */
  async #registerMissing(): Promise<void> {
    const missing = this.#members.filter(({ recorded, wanted }) => wanted && !recorded);
    if (missing.length > 0) await this.#register(missing);
  }

  #replace(records: readonly ConsumerRecord[]): void {
    for (const source of this.#records.keys()) {
      if (!records.some((record) => record.source === source)) this.#records.delete(source);
    }
    this.#apply(records);
  }

  #apply(records: readonly ConsumerRecord[]): void {
    for (const record of records) this.#records.set(record.source, record);
    for (const member of this.#members) member.update(this.#records.get(member.collection.source));
    this.#changed();
  }

  /** Whether the identity of the cache was seen lately enough to acknowledge by it. */
  isCertain({ epoch }: ConsumerState): boolean {
    return epoch === 0 || this.#identity.wasSeenWithin(BELIEVED_MS);
  }

  /** What is done in this process counts under this state: `undefined` where its cache is not the present one. */
  stateOf(record: ConsumerRecord | undefined): ConsumerState | undefined {
    if (record === undefined) return undefined;
    const { consumer, source, revision, epoch, identity } = record;
    if (epoch !== 0 && !this.#identity.leadsTo(identity)) return undefined;
    return { consumer, source, revision, epoch };
  }

  /** Whether this process's cache was replaced by another one. */
  isLeft(record: ConsumerRecord | undefined): boolean {
    const { whole } = this.#identity;
    if (record === undefined || whole === undefined) return false;
    return record.identity !== whole && record.left.includes(whole);
  }

  // As a claimant.

  state(source: string): ConsumerState | undefined {
    return this.stateOf(this.#records.get(source));
  }

  differs(): Promise<void> {
    return this.renew().catch(() => undefined);
  }

  /** Told whenever `sources` may have changed. Returns what removes the listener. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  async #read(answer: Promise<readonly ConsumerRecord[]>, ms: number): Promise<readonly ConsumerRecord[]> {
    return this.#judge.believed(await this.#bounded(answer, ms));
  }

  #bounded<T>(answer: Promise<T>, ms: number): Promise<T> {
    const late = (): Error => new StoreTimeoutError(`the registry did not answer within ${ms} ms`);
    return withTimeout(this.#options.clock, answer, ms, late);
  }
}
