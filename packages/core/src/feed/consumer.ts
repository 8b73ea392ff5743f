import type { CacheClient } from '../cache/client.js';
import type { CacheAdapter } from '../contracts/cache.js';
import type { Clock } from '../contracts/clock.js';
import type { ChangeFeed, FeedClaimant } from '../contracts/feed.js';
import type { ConsumerRecord, ConsumerState, RecordedCollection } from '../contracts/registry.js';
import { StoreTimeoutError } from '../errors.js';
import { withTimeout } from '../kit/wait.js';
import { keyPrefix } from '../protocol/key.js';
import type { EventHub } from '../runtime/events.js';
import { type KnownRegistry, Membership } from './membership.js';
import { RecordJudge } from './recorded.js';

export interface ConsumerOptions {
  readonly feed: ChangeFeed;
  /** The consumer's name. */
  readonly name: string;
  readonly adapter: CacheAdapter;
  readonly cache: CacheClient;
  readonly clock: Clock;
  readonly events: EventHub;
}

/** What this process saw of its cache's identity: all of it, or that of the primaries that answered. */
type SeenIdentity = { readonly atMs: number } & (
  | { readonly whole: string }
  | { readonly parts: readonly string[] }
);

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
const TIMEOUT_MS = 5_000;

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
  #readAtMs = Number.NEGATIVE_INFINITY;
  #renewing: Promise<void> | undefined;
  #seen: SeenIdentity | undefined;

  constructor(options: ConsumerOptions) {
    this.feed = options.feed;
    this.consumer = options.name;
    this.#options = options;
    this.#judge = new RecordJudge(options.name, options.events);
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
    const members = this.#members.filter((member) => member.collection.source === source);
    if (members.every(({ recorded }) => recorded)) return;
    await this.#register(members);
    this.touch();
  }

  async #register(members: readonly Membership[]): Promise<void> {
    const { clock, feed } = this.#options;
    const collections = members.map(({ collection }) => collection);
    const records = await this.#read(feed.registry.register(this.consumer, collections));
    const nowMs = clock.monotonic();
    for (const record of records) {
      // Nobody wrote of a consumer's source before its first record.
      const known = record.revision === 1 || record.changedAgoMs >= LONG_AGO_MS;
      for (const member of members) {
        if (member.collection.source !== record.source) continue;
        member.registered(known ? nowMs : nowMs + UNSEEN_MS);
      }
    }
    this.#apply(records);
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
    void this.#observe().then(() => this.#apply([]));
    const records = await this.#read(feed.registry.read(this.consumer, this.sources()));
    this.#readAtMs = sentAtMs;
    this.#replace(records);
    await this.#registerMissing();
  }

  /** As the relay does it: a cache whose identity is a new one gets an epoch of its own. */
  async observe(): Promise<readonly ConsumerRecord[]> {
    const { clock, feed } = this.#options;
    const sentAtMs = clock.monotonic();
    const identity = await this.#observe();
    if (identity === undefined) {
      await this.renew();
      return [];
    }
    const records = await this.#read(feed.registry.observe(this.consumer, this.sources(), identity));
    this.#readAtMs = sentAtMs;
    this.#replace(records);
    await this.#registerMissing();
    return records.filter((record) => record.identity === identity);
  }

  /** The store may have lost its registry, and gets back what was opened here. */
  async #registerMissing(): Promise<void> {
    const missing = this.#members.filter(({ recorded, wanted }) => wanted && !recorded);
    if (missing.length > 0) await this.#register(missing);
  }

  /** The identity of the cache that this process's own connections lead to. Does not reject. */
  async #observe(): Promise<string | undefined> {
    const { adapter, cache, clock } = this.#options;
    if (!adapter.shared) return undefined;
    const atMs = clock.monotonic();
    try {
      const info = cache.open().then(() => adapter.info());
      const { generation } = await this.#bounded(info);
      const seen = generation === undefined ? await this.#seenInParts() : { whole: generation };
      if (seen !== undefined) this.#seen = { ...seen, atMs };
      return generation;
    } catch {
      return undefined;
    }
  }

  /** Some of the primaries are away, or say nothing of themselves: the others are known. */
  async #seenInParts(): Promise<{ readonly parts: readonly string[] } | undefined> {
    const probes = await this.#bounded(this.#options.adapter.probe(keyPrefix(this.consumer, '')));
    const answers = [...probes.values()].flatMap((answer) => (answer instanceof Error ? [] : [answer]));
    if (answers.length === 0) return undefined;
    return { parts: answers.flatMap(({ generation }) => generation ?? []) };
  }

  /** Whether this process's connections lead to the cache of that identity, as far as the cache tells. */
  #leadsTo(identity: string | undefined): boolean {
    const seen = this.#seen;
    if (seen === undefined || identity === undefined) return false;
    if ('whole' in seen) return seen.whole === identity;
    const primaries = identity.split(',');
    return seen.parts.every((part) => primaries.includes(part));
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
    if (epoch === 0) return true;
    const atMs = this.#seen?.atMs ?? Number.NEGATIVE_INFINITY;
    return this.#options.clock.monotonic() - atMs <= BELIEVED_MS;
  }

  /** What is done in this process counts under this state: `undefined` where its cache is not the present one. */
  stateOf(record: ConsumerRecord | undefined): ConsumerState | undefined {
    if (record === undefined) return undefined;
    const { consumer, source, revision, epoch, identity } = record;
    if (epoch !== 0 && !this.#leadsTo(identity)) return undefined;
    return { consumer, source, revision, epoch };
  }

  /** Whether this process's cache was replaced by another one. */
  isLeft(record: ConsumerRecord | undefined): boolean {
    const seen = this.#seen;
    if (record === undefined || seen === undefined || !('whole' in seen)) return false;
    return record.identity !== seen.whole && record.left.includes(seen.whole);
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

  async #read(answer: Promise<readonly ConsumerRecord[]>): Promise<readonly ConsumerRecord[]> {
    return this.#judge.believed(await this.#bounded(answer));
  }

  #bounded<T>(promise: Promise<T>): Promise<T> {
    const late = (): Error => new StoreTimeoutError(`the registry did not answer within ${TIMEOUT_MS} ms`);
    return withTimeout(this.#options.clock, promise, TIMEOUT_MS, late);
  }
}
