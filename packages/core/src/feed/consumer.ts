import type { CacheClient } from '../cache/client.js';
import type { CacheAdapter } from '../contracts/cache.js';
import type { CancelTimer, Clock } from '../contracts/clock.js';
import type { Change, ChangeFeed, FeedClaimant } from '../contracts/feed.js';
import type { ConsumerRecord, ConsumerState, RecordedCollection } from '../contracts/registry.js';
import { StoreTimeoutError } from '../errors.js';
import { withTimeout } from '../kit/wait.js';
import { enginePrefix } from '../protocol/key.js';
import type { EventHub } from '../runtime/events.js';
import type { CacheSwitch } from '../runtime/switch.js';
import { CacheIdentity } from './identity.js';
import { type KnownRegistry, Membership } from './membership.js';
import { OnlyCache } from './only-cache.js';
import { RecordJudge } from './recorded.js';
import { watchRegistry } from './registry-watch.js';
import { resetAdded } from './reset.js';
import { SEARCH_MS, startEpoch } from './start-epoch.js';
import { Suspensions } from './suspensions.js';

export interface ConsumerOptions {
  readonly feed: ChangeFeed;
  /** The consumer's name. */
  readonly name: string;
  readonly adapter: CacheAdapter;
  readonly cache: CacheClient;
  readonly clock: Clock;
  readonly events: EventHub;
  readonly nextToken: () => string;
  readonly lifecycle: { readonly closed: boolean };
  readonly cacheSwitch: Pick<CacheSwitch, 'recorded'>;
}

/** The registry is read again after so long. */
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
 * This process's knowledge of one feed's registry: which collections, of any process, are kept in step
 * with its rows, and which generation of the cache is the present one. It is read in the background while there
 * are writes, and believed for a bounded time. By durations only: no two clocks are compared.
 */
export class Consumer implements FeedClaimant, KnownRegistry {
  readonly feed: ChangeFeed;
  readonly consumer: string;
  readonly identity: CacheIdentity;
  readonly suspensions: Suspensions;
  readonly #options: ConsumerOptions;
  readonly #members: Membership[] = [];
  /** Only what {@link RecordJudge} believes. By source. */
  readonly #records = new Map<string, ConsumerRecord>();
  readonly #judge: RecordJudge;
  #cancelWatch: CancelTimer | undefined;
  readonly #listeners = new Set<() => void>();
  readonly #registering = new Map<string, Promise<void>>();
  #readAtMs = Number.NEGATIVE_INFINITY;
  #renewing: Promise<void> | undefined;
  #failing = false;

  constructor(options: ConsumerOptions) {
    this.feed = options.feed;
    this.consumer = options.name;
    this.#options = options;
    this.#judge = new RecordJudge(options.name, options.events);
    this.identity = new CacheIdentity({ ...options, prefix: enginePrefix(options.name) });
    this.suspensions = new Suspensions({
      ...options,
      members: (source) => this.#members.filter(({ collection }) => collection.source === source),
      collections: (source) => this.collections(source),
      renew: () => this.renew(),
    });
  }

  /** @param additional what {@link CollectionOptions.additional} says */
  join(collection: RecordedCollection, additional: boolean): Membership {
    const { cache, clock } = this.#options;
    const member = new Membership({ cache, clock, collection, additional, registry: this });
    member.suspended = this.suspensions.has(collection.source);
    this.#members.push(member);
    this.#apply([]);
    return member;
  }

  /** The sources of this process's collections, and those that are recorded of others'. */
  sources(): string[] {
    const own = this.#members.map(({ collection }) => collection.source);
    return [...new Set([...own, ...this.#records.keys()])];
  }

  /** Every collection of a source, of this process and of others. */
  collections(source: string): RecordedCollection[] {
    const own = this.#members.map(({ collection }) => collection).filter((each) => each.source === source);
    const all = [...own, ...(this.#records.get(source)?.collections ?? [])];
    return [...new Map(all.map((each) => [each.keyPrefix, each])).values()];
  }

  /** Columns that lookups and tags of a source are named by. */
  columns(source: string): string[] {
    const named = this.collections(source).flatMap(({ lookup = [], tags = [] }) => [
      ...lookup,
      ...tags.flat(),
    ]);
    return [...new Set(named)];
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
    const every = { everyMs: RENEW_MS + 1, readAtMs: () => this.#readAtMs, read: () => this.touch() };
    this.#cancelWatch ??= watchRegistry({ ...this.#options, ...every });
  }

  /** Switches this cache off, or on again, for every process. Resolves with the sources that it is recorded for. */
  async switch(off: boolean): Promise<readonly string[]> {
    const switching = this.feed.registry.switch(this.consumer, off);
    const sources = await this.#bounded(switching, CHANGE_TIMEOUT_MS);
    // A read that was under way may have seen the state from before.
    await this.#renewing?.catch(() => undefined);
    await this.renew();
    return sources;
  }

  /** Notes that this process uses the consumer no more, so that another cache may take its place. Does not reject. */
  async end(): Promise<void> {
    this.#cancelWatch?.();
    const recorded = this.#members.filter((member) => member.recorded);
    const sources = [...new Set(recorded.map(({ collection }) => collection.source))];
    if (sources.length === 0 || !this.#options.adapter.shared) return;
    const ending = this.feed.registry.end(this.consumer, sources);
    await this.#bounded(ending, READ_TIMEOUT_MS).catch(() => undefined);
  }

  async #register(members: readonly Membership[]): Promise<void> {
    const { clock, feed } = this.#options;
    const collections = members.map(({ collection }) => collection);
    const claim = this.#claim(members);
    await claim.check();
    const sources = [...new Set(collections.map(({ source }) => source))];
    const before = await this.#believed(feed.registry.read(this.consumer, sources), CHANGE_TIMEOUT_MS);
    const registering = feed.registry.register(this.consumer, collections);
    const records = await this.#believed(registering, CHANGE_TIMEOUT_MS);
    await claim.confirm();
    const nowMs = clock.monotonic();
    this.#apply(records);
    const elsewhere = await this.#startEpochs(records);
    if (this.#options.adapter.shared) {
      const resetting = resetAdded(this.#options.cache, collections, before);
      await this.#bounded(resetting, CHANGE_TIMEOUT_MS).catch((error: unknown) => {
        this.#options.events.error.emit({ where: 'registry', error });
      });
    }
    for (const { changedAgoMs, revision, source } of records) {
      // Before its first record no process has written for the consumer's source.
      const known = revision === 1 || changedAgoMs >= LONG_AGO_MS;
      const searchedAtMs = elsewhere.includes(source) ? clock.monotonic() + SEARCH_MS : nowMs;
      const fillsAtMs = Math.max(searchedAtMs, known ? nowMs : nowMs + UNSEEN_MS);
      for (const member of members) if (member.collection.source === source) member.registered(fillsAtMs);
    }
    this.#apply([]);
  }

  /** The sources whose only cache this one claims to be. A cache of one process never does: each has its own. */
  #claim(members: readonly Membership[]): OnlyCache {
    const { adapter, name, feed } = this.#options;
    const claiming = adapter.shared
      ? members.filter(({ additional, missing }) => !additional && !missing)
      : [];
    const collections = claiming.map(({ collection }) => collection);
    const bounded = <T>(answer: Promise<T>): Promise<T> => this.#bounded(answer, CHANGE_TIMEOUT_MS);
    return new OnlyCache({ consumer: name, registry: feed.registry, collections, bounded });
  }

  /** Answers the sources that somebody else searches for or replays. Does not reject: a relay makes up for what fails. */
  async #startEpochs(records: readonly ConsumerRecord[]): Promise<readonly string[]> {
    const due = records.filter(({ epoch, replayed }) => epoch === 0 || !replayed);
    const sources = due.map(({ source }) => source);
    if (sources.length === 0) return [];
    const context = {
      ...this.#options,
      identity: this.identity,
      begin: (identity: string) => this.#begin(sources, identity),
      collections: (source: string) => this.collections(source),
    };
    try {
      return await this.#bounded(startEpoch(context), CHANGE_TIMEOUT_MS);
    } catch (error) {
      this.#options.events.error.emit({ where: 'registry', error });
      return [];
    }
  }

  /** A cache whose identity is a new one gets an epoch of its own. */
  async #begin(sources: readonly string[], identity: string): Promise<readonly ConsumerRecord[]> {
    const observing = this.feed.registry.observe(this.consumer, sources, identity);
    const records = await this.#believed(observing, CHANGE_TIMEOUT_MS);
    this.#apply(records);
    return records;
  }

  /** Called by each write at its begin: what is known is to be recent when it is acknowledged. */
  touch(): void {
    if (this.#renewing === undefined && this.#options.clock.monotonic() - this.#readAtMs > RENEW_MS) {
      this.renew().catch(() => undefined);
    }
  }

  /** True while the record is recent enough to acknowledge a write by it. */
  isBelieved(nowMs = this.#options.clock.monotonic()): boolean {
    return nowMs - this.#readAtMs <= BELIEVED_MS;
  }

  /** Reads the registry; joins a read under way. Rejects where it can't be read; the first of several failures is told. */
  renew(): Promise<void> {
    this.#renewing ??= this.#renew()
      .then(() => {
        this.#failing = false;
      })
      .catch((error: unknown) => {
        if (!this.#failing) this.#options.events.error.emit({ where: 'registry', error });
        this.#failing = true;
        throw error;
      })
      .finally(() => {
        this.#renewing = undefined;
      });
    return this.#renewing;
  }

  async #renew(): Promise<void> {
    // Not waited for: a cache that hangs says nothing of the registry.
    void this.identity.ask().then(() => this.#apply([]));
    const read = () => this.feed.registry.read(this.consumer, this.sources());
    const records = await this.#refresh(read, READ_TIMEOUT_MS);
    // Without a relay, too, a cache that was replaced gets its epoch, or nothing would be acknowledged any more. An
    // identity that was left is brought back by relays alone, which see it all the time.
    const { whole } = this.identity;
    const replaced = records.filter(
      ({ epoch, identity, left }) =>
        epoch > 0 && whole !== undefined && identity !== whole && !left.includes(whole),
    );
    const sources = replaced.map(({ source }) => source);
    if (whole !== undefined && sources.length > 0) await this.#begin(sources, whole);
  }

  /** As the relay does it, which waits for the cache. None where its identity is not known. */
  async observe(): Promise<readonly ConsumerRecord[]> {
    // A registration under way searches the cache for entries, which is quicker than a replay.
    await Promise.allSettled(this.#registering.values());
    const identity = await this.identity.ask();
    if (identity === undefined) {
      await this.renew();
      return [];
    }
    const observe = () => this.feed.registry.observe(this.consumer, this.sources(), identity);
    const records = await this.#refresh(observe, CHANGE_TIMEOUT_MS);
    return records.filter((record) => record.identity === identity);
  }

  /** Replaces all that is known. */
  async #refresh(read: () => Promise<readonly ConsumerRecord[]>, ms: number) {
    const sentAtMs = this.#options.clock.monotonic();
    const records = await this.#believed(read(), ms);
    this.#readAtMs = sentAtMs;
    this.#records.clear();
    this.#apply(records);
    // The store may have lost its registry, and gets back what was opened here.
    const missing = this.#members.filter((member) => member.missing);
    if (missing.length > 0) await this.#register(missing);
    return records;
  }

  #apply(records: readonly ConsumerRecord[]): void {
    for (const record of records) this.#records.set(record.source, record);
    const { whole } = this.identity;
    this.#options.cacheSwitch.recorded(
      this,
      [...this.#records.values()].some(({ switchedOff }) => switchedOff),
    );
    for (const member of this.#members) {
      const record = this.#records.get(member.collection.source);
      const left = whole !== undefined && record?.identity !== whole && record?.left.includes(whole);
      member.update(record, this.state(member.collection.source), left === true);
    }
    for (const listener of [...this.#listeners]) listener();
  }

  acknowledge(
    change: Pick<Change, 'source' | 'key' | 'version'>,
    under: ConsumerState,
    nowMs?: number,
  ): void {
    // The cache must have been seen lately.
    if (under.epoch !== 0 && !this.identity.wasSeenWithin(BELIEVED_MS, nowMs)) return;
    try {
      this.feed.acknowledge([change], under);
    } catch (error) {
      this.#options.events.error.emit({ where: 'acknowledge', error });
    }
  }

  /** The state that this process acknowledges under; `undefined` when its cache is not the present one. */
  state(source: string): ConsumerState | undefined {
    const record = this.#records.get(source);
    if (record === undefined || (record.epoch !== 0 && !this.identity.leadsTo(record.identity))) {
      return undefined;
    }
    const { consumer, epoch, revision } = record;
    return { consumer, source, revision, epoch };
  }

  /** As a claimant. */
  differs(): Promise<void> {
    return this.renew().catch(() => undefined);
  }

  /** Told whenever `sources` may have changed. Returns what removes the listener. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  async #believed(answer: Promise<readonly ConsumerRecord[]>, ms: number) {
    return this.#judge.believed(await this.#bounded(answer, ms));
  }

  #bounded<T>(answer: Promise<T>, ms: number): Promise<T> {
    const late = (): Error => new StoreTimeoutError(`the registry did not answer within ${ms} ms`);
    return withTimeout(this.#options.clock, answer, ms, late);
  }
}
