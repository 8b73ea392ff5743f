import type { Versioned } from '../contracts/api.js';
import type { CacheHit } from '../contracts/cache-commands.js';
import type { Version } from '../contracts/version.js';
import { CacheUnavailableError } from '../errors.js';
import type { Batcher } from '../kit/batcher.js';
import type { Decoded } from '../values/codec.js';
import { copyOf } from '../values/copy.js';
import type { TagsNow } from '../values/tag-heads.js';
import type { RowTags } from '../views/row-tags.js';
import { isAway } from './loader.js';
import type { Lookup, ReadContext } from './lookup.js';
import { Misses } from './misses.js';
import { reportHit, reportMiss } from './reports.js';
import { UncacheableKeys } from './uncacheable.js';

type Answer = CacheHit | undefined | Error;

/** The parts of an entry that differ after any change of it, or of its tags. */
interface Identity extends Pick<CacheHit, 'version' | 'staleAtMs'> {
  /** How far the list of ended tags went; `undefined`: rows have none. */
  readonly mark: string | undefined;
}

/** A load under way in the place of an entry that expired, or whose tag was ended. */
interface Renewal<Value> extends Identity {
  readonly found: Promise<Versioned<Value>>;
}

type Found<Value> = Versioned<Value> | Promise<Versioned<Value>>;

/** The read path: the cache; what it lacks is loaded and filled in; the store alone where the cache can't be reached. */
export class Reader<Value> {
  readonly #context: ReadContext<Value>;
  readonly #reads: Batcher<string, CacheHit | undefined>;
  readonly #misses: Misses<Value>;
  readonly #uncacheable: UncacheableKeys;
  readonly #rowTags: RowTags | undefined;
  readonly #revalidating = new Set<string>();
  readonly #renewals = new Map<string, Renewal<Value>>();
  /** The value of {@link Loader.answers} when a reload of an expired entry did not reach the store. While both are equal, the store has not answered since. */
  #awayAt: number | undefined;

  constructor(context: ReadContext<Value>) {
    this.#context = context;
    this.#reads = context.cache.reads(context.codec.serializer.encoding);
    this.#uncacheable = new UncacheableKeys(context.clock);
    this.#rowTags = context.tags?.rows;
    this.#misses = new Misses(context, this.#uncacheable);
  }

  /** See {@link Misses.detach}. */
  detach(cacheKey: string): void {
    this.#context.near?.changed(cacheKey);
    this.#misses.detach(cacheKey);
    if (this.#renewals.size > 0) this.#renewals.delete(cacheKey);
  }

  /** See {@link Fills.sent}. */
  sent(cacheKey: string): Promise<void> {
    return this.#misses.sent(cacheKey);
  }

  /**
   * Reads one entity. Hot path: `test/runtime/hops.test.ts` counts what a hit costs.
   *
   * @param mayBeNear that a tag was ended may be known as late as a near entry would be
   */
  read(key: string, ttlMs: number, mayBeNear = false): Promise<Versioned<Value>> {
    const { cache, cacheSwitch, clock, flushKey, keyPrefix, member, near } = this.#context;
    const cacheKey = keyPrefix + key;
    const mark = near === undefined ? undefined : near.mark(key);
    const lookup = { key, cacheKey, ttlMs, startedAtMs: clock.monotonic(), mark };
    if (cacheSwitch.off || member?.suspended === true) return this.#readPast(lookup);
    // A buffered write is in the cache alone: a collection with a buffer asks even a cache that refuses writes.
    if (cache.trust.anyLost && flushKey === undefined && cache.trust.isLost(cacheKey)) {
      return this.#readStore(lookup);
    }
    const { promise, resolve } = Promise.withResolvers<Versioned<Value>>();
    const list = mayBeNear ? near?.list : undefined;
    if (this.#rowTags !== undefined && list === undefined) this.#readTagged(lookup, this.#rowTags, resolve);
    else this.#reads.add(cacheKey, (answer, nowMs) => resolve(this.#found(lookup, answer, nowMs, list)));
    return promise;
  }

  /** The entry and the list of ended tags, in one round trip; who asks for the list in this turn shares its answer. */
  #readTagged(lookup: Lookup, { key }: RowTags, resolve: (found: Found<Value>) => void): void {
    let entry: Answer;
    let list: Answer;
    let left = 2;
    const arrived = (nowMs: number): void => {
      left--;
      if (left > 0) return;
      const { mark } = lookup;
      if (mark !== undefined && !(list instanceof Error)) this.#context.near?.keepList(mark, list);
      resolve(this.#found(lookup, entry, nowMs, list));
    };
    this.#reads.add(lookup.cacheKey, (answer, nowMs) => {
      entry = answer;
      arrived(nowMs);
    });
    this.#reads.add(key, (answer, nowMs) => {
      list = answer;
      arrived(nowMs);
    });
  }

  /** As `read`, position by position; the cache is asked for all at once. */
  async readMany(keys: readonly string[], ttlMs: number): Promise<Versioned<Value>[]> {
    const { cache, cacheSwitch, clock, keyPrefix, member, near } = this.#context;
    if (cache.trust.anyLost || cacheSwitch.off || member?.suspended === true)
      return await Promise.all(keys.map((key) => this.read(key, ttlMs)));
    const startedAtMs = clock.monotonic();
    const marks = near && keys.map((key) => near.mark(key));
    const cacheKeys = keys.map((key) => keyPrefix + key);
    const { list, entries } = await this.#readTogether(cacheKeys);
    const nowMs = clock.monotonic();
    const found = keys.map((key, i) =>
      this.#found(
        { key, cacheKey: cacheKeys[i] as string, ttlMs, startedAtMs, mark: marks?.[i] },
        entries[i],
        nowMs,
        list,
      ),
    );
    return found.some(isPromise) ? await Promise.all(found) : (found as Versioned<Value>[]);
  }

  async #readTogether(
    cacheKeys: readonly string[],
  ): Promise<{ readonly entries: readonly Answer[]; readonly list: Answer }> {
    const rowTags = this.#rowTags;
    if (rowTags === undefined) return { entries: await this.#reads.addMany(cacheKeys), list: undefined };
    const entries = await this.#reads.addMany([...cacheKeys, rowTags.key]);
    return { entries, list: entries[cacheKeys.length] };
  }

  /** Asks the store's primary and puts what it says into the cache, whatever the cache holds. */
  async refresh(key: string, ttlMs: number): Promise<Versioned<Value>> {
    const { activity, cacheSwitch, clock, keyPrefix, member } = this.#context;
    await this.#flush(key);
    const lookup = { key, cacheKey: keyPrefix + key, ttlMs, startedAtMs: clock.monotonic() };
    if (cacheSwitch.off || member?.suspended === true) return await this.#readStore(lookup, 'off');
    reportMiss(this.#context, lookup, 'fresh');
    return await activity.track(this.#misses.reload(lookup));
  }

  /**
   * Turns the cache's answer into a result. Never throws.
   *
   * @param list where rows have tags: the answer for the list of those that were ended
   */
  #found(lookup: Lookup, answer: Answer, nowMs: number, list?: Answer): Found<Value> {
    if (answer instanceof Error || list instanceof Error) return this.#readStore(lookup);
    if (answer === undefined) return this.#miss(lookup);
    const proof = this.#context.cache.trust.proofOf(lookup.cacheKey, nowMs);
    const now = this.#rowTags?.now(list, nowMs);
    return proof === undefined || now === 'unproven'
      ? this.#unproven(lookup, answer, list)
      : this.#decode(lookup, answer, proof.maxVersion, now);
  }

  /** A hit whose primary's last proof is too old: the probe that is under way decides. */
  async #unproven(lookup: Lookup, hit: CacheHit, list: CacheHit | undefined): Promise<Versioned<Value>> {
    const { cache } = this.#context;
    const proof = await cache.trust.prove(lookup.cacheKey);
    if (proof !== undefined) {
      const now = this.#rowTags && (await this.#rowTags.proven(list));
      return await this.#decode(lookup, hit, proof.maxVersion, now);
    }
    if (hit.unflushed) await this.#flush(lookup.key);
    return await this.#readStore(lookup);
  }

  #decode(lookup: Lookup, hit: CacheHit, maxVersion: Version, now: TagsNow | undefined): Found<Value> {
    // No store has issued such a version. The cache's transitions treat the key as empty, too.
    if (hit.version > maxVersion) return this.#miss(lookup);
    const decoded = this.#context.codec.decode(hit, lookup.key, now);
    return decoded instanceof Promise
      ? decoded.then((late) => this.#decoded(lookup, hit, late, now))
      : this.#decoded(lookup, hit, decoded, now);
  }

  #decoded(lookup: Lookup, hit: CacheHit, decoded: Decoded<Value>, now: TagsNow | undefined): Found<Value> {
    if (decoded.ok) return this.#hit(lookup, hit, decoded.value, now);
    const { reason } = decoded;
    reportMiss(this.#context, lookup, reason);
    const { activity } = this.#context;
    // Without a list of ended tags each reader loads by itself: a shared load may be older than a tag's end.
    if (reason === 'changed' && now !== undefined) return this.#renew(lookup, hit, now);
    return activity.track(this.#misses.loadInstead(lookup, hit, reason));
  }

  #hit(lookup: Lookup, hit: CacheHit, value: Value | null, now: TagsNow | undefined): Found<Value> {
    const { clock, near, settings } = this.#context;
    const staleMs = hit.staleAtMs > 0 ? clock.now() - hit.staleAtMs : -1;
    if (staleMs < 0) {
      if (lookup.mark !== undefined) near?.store(lookup.key, lookup.mark, hit, value);
      return this.#served(lookup, hit, value, 'cache');
    }
    if (staleMs >= settings.staleWhileRevalidateMs) return this.#expired(lookup, hit, value, now);
    this.#revalidate(lookup);
    return this.#served(lookup, hit, value, 'cache');
  }

  #served(
    { key, startedAtMs }: Lookup,
    hit: CacheHit,
    value: Value | null,
    from: 'cache' | 'stale',
  ): Versioned<Value> {
    reportHit(this.#context, key, hit, 'cache', startedAtMs);
    return { value, version: hit.version, from };
  }

  /**
   * An entry that is kept for when the store can't be reached. Known to be away, the store is asked behind the reader:
   * others need not wait for its time-out again.
   */
  async #expired(
    lookup: Lookup,
    hit: CacheHit,
    value: Value | null,
    now: TagsNow | undefined,
  ): Promise<Versioned<Value>> {
    const mayServe = this.#context.settings.staleIfErrorMs > 0;
    const { loader } = this.#context;
    if (mayServe && this.#awayAt === loader.answers) {
      this.#revalidate(lookup);
      return this.#served(lookup, hit, value, 'stale');
    }
    reportMiss(this.#context, lookup, 'expired');
    try {
      return await this.#renew(lookup, hit, now);
    } catch (error) {
      if (!mayServe || !isAway(error)) throw error;
      this.#awayAt = loader.answers;
      // The entry may have been invalidated during the load.
      const { entries, list } = await this.#readTogether([lookup.cacheKey]);
      const again = entries[0];
      if (again === undefined || again instanceof Error || list instanceof Error) throw error;
      const { clock } = this.#context;
      if (again.version !== hit.version || again.staleAtMs !== hit.staleAtMs) {
        return await this.#found(lookup, again, clock.monotonic(), list);
      }
      if (!(await this.#isStill(lookup, again, list))) throw error;
      return this.#served(lookup, hit, value, 'stale');
    }
  }

  /** True of an expired entry that may be believed, none of whose tags was ended. */
  async #isStill({ cacheKey, key }: Lookup, hit: CacheHit, list: CacheHit | undefined): Promise<boolean> {
    const { cache, codec } = this.#context;
    if ((await cache.trust.prove(cacheKey)) === undefined) return false;
    if (this.#rowTags === undefined) return true;
    return (await codec.decode(hit, key, await this.#rowTags.proven(list))).ok;
  }

  /**
   * Reloads an entry, once per process. Readers share the load only if they have read the same entry: then no write of the
   * key was acknowledged, and no tag of it ended, before that load began.
   */
  async #renew(
    lookup: Lookup,
    { staleAtMs, version }: CacheHit,
    now: TagsNow | undefined,
  ): Promise<Versioned<Value>> {
    const { cacheKey } = lookup;
    const mark = now?.mark;
    const underWay = this.#renewals.get(cacheKey);
    if (underWay !== undefined && isSame(underWay, { staleAtMs, version, mark })) {
      const found = await underWay.found;
      return { ...found, value: copyOf(found.value) };
    }
    const renewal = { staleAtMs, version, mark, found: this.#reload(lookup) };
    this.#renewals.set(cacheKey, renewal);
    try {
      return await renewal.found;
    } finally {
      if (this.#renewals.get(cacheKey) === renewal) this.#renewals.delete(cacheKey);
    }
  }

  async #reload(lookup: Lookup): Promise<Versioned<Value>> {
    return await this.#context.activity.track(this.#misses.reload(lookup));
  }

  /** Refreshes in the background, once per key and process. After a failure the entry expires as it is. */
  #revalidate(lookup: Lookup): void {
    const { cacheKey } = lookup;
    if (this.#revalidating.has(cacheKey)) return;
    this.#revalidating.add(cacheKey);
    const { activity, events } = this.#context;
    activity.track(
      this.#reload(lookup)
        .catch((error: unknown) => events.error.emit({ where: 'revalidate', error }))
        .finally(() => this.#revalidating.delete(cacheKey)),
    );
  }

  #miss(lookup: Lookup): Promise<Versioned<Value>> {
    reportMiss(this.#context, lookup, 'absent');
    const { activity, loader } = this.#context;
    const alone = this.#uncacheable.has(lookup.key);
    return activity.track(alone ? loader.loadOnly(lookup.key) : this.#misses.read(lookup));
  }

  /** The cache is switched off, or the table is not kept in step. Losses of it are looked for all the same: it may be switched on at any time. */
  async #readPast(lookup: Lookup): Promise<Versioned<Value>> {
    await this.#flush(lookup.key);
    return await this.#readStore(lookup, 'off');
  }

  /** Flushes a buffered write of the key, so that the store can be read for it. A cache that is away can't be asked for one. */
  async #flush(key: string): Promise<void> {
    try {
      await this.#context.flushKey?.(key);
    } catch (error) {
      if (!(error instanceof CacheUnavailableError)) throw error;
    }
  }

  /** The cache can't be reached, can't be believed, or is not used. */
  #readStore(lookup: Lookup, reason: 'unavailable' | 'off' = 'unavailable'): Promise<Versioned<Value>> {
    const { activity, cache, loader } = this.#context;
    reportMiss(this.#context, lookup, reason);
    cache.trust.due();
    return activity.track(loader.loadOnly(lookup.key));
  }
}

/** True when both are the same entry, with no tag ended in between. */
function isSame(one: Identity, other: Identity): boolean {
  return one.version === other.version && one.staleAtMs === other.staleAtMs && one.mark === other.mark;
}

function isPromise(found: unknown): boolean {
  return found instanceof Promise;
}
