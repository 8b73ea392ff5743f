import type { Versioned } from '../contracts/api.js';
import type { CacheHit } from '../contracts/cache-commands.js';
import type { LockstepEventMap } from '../contracts/events.js';
import type { Version } from '../contracts/version.js';
import { CacheUnavailableError } from '../errors.js';
import type { Batcher } from '../kit/batcher.js';
import type { Decoded } from '../values/codec.js';
import type { Lookup, ReadContext } from './lookup.js';
import { Misses } from './misses.js';
import { UncacheableKeys } from './uncacheable.js';

type Answer = CacheHit | undefined | Error;
type Found<Value> = Versioned<Value> | Promise<Versioned<Value>>;

/** The read path: the cache; what it lacks is loaded and filled in; the store alone where the cache can't be reached. */
export class Reader<Value> {
  readonly #context: ReadContext<Value>;
  readonly #reads: Batcher<string, CacheHit | undefined>;
  readonly #misses: Misses<Value>;
  readonly #uncacheable: UncacheableKeys;
  readonly #revalidating = new Set<string>();

  constructor(context: ReadContext<Value>) {
    this.#context = context;
    this.#reads = context.cache.reads(context.codec.serializer.encoding);
    this.#uncacheable = new UncacheableKeys(context.clock);
    this.#misses = new Misses(context, this.#uncacheable);
  }

  /** See {@link Misses.detach}. */
  detach(cacheKey: string): void {
    this.#misses.detach(cacheKey);
  }

  /** Reads one entity. Hot path: `test/runtime/hops.test.ts` counts what a hit costs. */
  read(key: string, ttlMs: number): Promise<Versioned<Value>> {
    const { cache, clock, flushKey, keyPrefix } = this.#context;
    const cacheKey = keyPrefix + key;
    const lookup = { key, cacheKey, ttlMs, startedAtMs: clock.monotonic() };
    // A buffered write is in the cache alone: a collection with a buffer asks even a cache that refuses writes.
    if (cache.trust.anyLost && flushKey === undefined && cache.trust.isLost(cacheKey)) {
      return this.#readStore(lookup);
    }
    const { promise, resolve } = Promise.withResolvers<Versioned<Value>>();
    this.#reads.add(cacheKey, (answer, nowMs) => resolve(this.#found(lookup, answer, nowMs)));
    return promise;
  }

  /** As `read`, position by position; the cache is asked for all at once. */
  async readMany(keys: readonly string[], ttlMs: number): Promise<Versioned<Value>[]> {
    const { cache, clock, keyPrefix } = this.#context;
    if (cache.trust.anyLost) return await Promise.all(keys.map((key) => this.read(key, ttlMs)));
    const startedAtMs = clock.monotonic();
    const cacheKeys = keys.map((key) => keyPrefix + key);
    const answers = await this.#reads.addMany(cacheKeys);
    const nowMs = clock.monotonic();
    const found = keys.map((key, i) =>
      this.#found({ key, cacheKey: cacheKeys[i] as string, ttlMs, startedAtMs }, answers[i], nowMs),
    );
    return found.some(isPromise) ? await Promise.all(found) : (found as Versioned<Value>[]);
  }

  /** Asks the store's primary and puts what it says into the cache, whatever the cache holds. */
  async refresh(key: string, ttlMs: number): Promise<Versioned<Value>> {
    const { activity, clock, keyPrefix } = this.#context;
    const lookup = { key, cacheKey: keyPrefix + key, ttlMs, startedAtMs: clock.monotonic() };
    this.#missed(lookup, 'fresh');
    return await activity.track(this.#misses.reload(lookup));
  }

  /** Turns the cache's answer into a result. Never throws. */
  #found(lookup: Lookup, answer: Answer, nowMs: number): Found<Value> {
    if (answer instanceof Error) return this.#readStore(lookup);
    if (answer === undefined) return this.#miss(lookup);
    const proof = this.#context.cache.trust.proofOf(lookup.cacheKey, nowMs);
    return proof === undefined
      ? this.#unproven(lookup, answer)
      : this.#decode(lookup, answer, proof.maxVersion);
  }

  /** A hit whose primary's last proof is too old: the probe that is under way decides. */
  async #unproven(lookup: Lookup, hit: CacheHit): Promise<Versioned<Value>> {
    const { cache, flushKey } = this.#context;
    const proof = await cache.trust.prove(lookup.cacheKey);
    if (proof !== undefined) return await this.#decode(lookup, hit, proof.maxVersion);
    if (hit.unflushed) await flushKey?.(lookup.key).catch(unlessUnavailable);
    return await this.#readStore(lookup);
  }

  #decode(lookup: Lookup, hit: CacheHit, maxVersion: Version): Found<Value> {
    // Such a version is nobody's. To the scripts there is nothing at the key.
    if (hit.version > maxVersion) return this.#miss(lookup);
    const decoded = this.#context.codec.decode(hit, lookup.key);
    return decoded instanceof Promise
      ? decoded.then((late) => this.#decoded(lookup, hit, late))
      : this.#decoded(lookup, hit, decoded);
  }

  #decoded(lookup: Lookup, hit: CacheHit, decoded: Decoded<Value>): Found<Value> {
    if (decoded.ok) return this.#hit(lookup, hit, decoded.value);
    const { reason } = decoded;
    this.#missed(lookup, reason === 'later-shape' ? 'shape' : reason);
    return this.#context.activity.track(this.#misses.instead(lookup, hit, reason));
  }

  #hit(lookup: Lookup, { staleAtMs, version }: CacheHit, value: Value | null): Versioned<Value> {
    const { clock, events, settings } = this.#context;
    const stale = staleAtMs > 0 && clock.now() >= staleAtMs;
    if (stale) this.#revalidate(lookup);
    if (events.hit.wanted) {
      const durationMs = clock.monotonic() - lookup.startedAtMs;
      events.hit.emit({ collection: settings.name, key: lookup.key, version, stale, durationMs });
    }
    return { value, version, from: 'cache' };
  }

  /** One background refresh per key and process; a failure leaves the entry to expire. */
  #revalidate(lookup: Lookup): void {
    const { cacheKey } = lookup;
    if (this.#revalidating.has(cacheKey)) return;
    this.#revalidating.add(cacheKey);
    const { activity, events } = this.#context;
    activity.track(
      this.#misses
        .reload(lookup)
        .catch((error: unknown) => events.error.emit({ where: 'revalidate', error }))
        .finally(() => this.#revalidating.delete(cacheKey)),
    );
  }

  #miss(lookup: Lookup): Promise<Versioned<Value>> {
    this.#missed(lookup, 'absent');
    const { activity, loader } = this.#context;
    const alone = this.#uncacheable.has(lookup.key);
    return activity.track(alone ? loader.loadOnly(lookup.key) : this.#misses.read(lookup));
  }

  /** The cache can't be reached, or can't be believed. */
  #readStore(lookup: Lookup): Promise<Versioned<Value>> {
    const { activity, cache, loader } = this.#context;
    this.#missed(lookup, 'unavailable');
    cache.trust.due();
    return activity.track(loader.loadOnly(lookup.key));
  }

  #missed({ key, startedAtMs }: Lookup, reason: LockstepEventMap['miss']['reason']): void {
    const { clock, events, settings } = this.#context;
    if (!events.miss.wanted) return;
    const durationMs = clock.monotonic() - startedAtMs;
    events.miss.emit({ collection: settings.name, key, reason, durationMs });
  }
}

function isPromise(found: unknown): boolean {
  return found instanceof Promise;
}

/** A flush that the cache did not hear of is in the store all the same. */
function unlessUnavailable(error: unknown): void {
  if (!(error instanceof CacheUnavailableError)) throw error;
}
