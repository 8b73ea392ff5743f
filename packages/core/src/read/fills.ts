import type { CacheHit, LeaseReply, Payload } from '../contracts/cache-commands.js';
import type { StoreRow } from '../contracts/store.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import type { Lookup, ReadContext } from './lookup.js';
import { reportFillRefused } from './reports.js';
import type { UncacheableKeys } from './uncacheable.js';

/** The longest wait for writers whose intents ran out, in ms: no longer than others wait for this reader's lease. */
const SETTLE_MS = 250;

/** The commands of readers: leases, and the fills under them. */
export class Fills<Value> {
  readonly #context: ReadContext<Value>;
  readonly #uncacheable: UncacheableKeys;
  /** Rows that are being compressed, by the cache's key. */
  readonly #encodings = new Map<string, Promise<unknown>>();

  constructor(context: ReadContext<Value>, uncacheable: UncacheableKeys) {
    this.#context = context;
    this.#uncacheable = uncacheable;
  }

  /** Bids for the lease; `undefined`: the cache can't be reached. */
  lease(cacheKey: string, token: string): Promise<LeaseReply | undefined> {
    const { cache, codec, settings } = this.#context;
    const { holeTtlMs, leaseMs } = settings;
    const { encoding } = codec.serializer;
    return cache
      .run({ kind: 'lease', key: cacheKey, token, leaseMs, holeTtlMs, encoding })
      .catch(() => undefined);
  }

  /**
   * False: a write may still be committed of which the entry does not tell, so that what is loaded now must not be
   * cached. A cache that lost its intents a while ago lost the marks of those that ran out since, too.
   *
   * @param behind an intent ran out at the key
   */
  async mayFill({ cacheKey, key }: Lookup, behind: boolean): Promise<boolean> {
    const { kept, settings } = this.#context;
    if (settings.consistency !== 'strict') return await this.#settled(key);
    const keptMs = await kept.allMs(cacheKey);
    if (keptMs === 0) return false;
    return behind || keptMs < settings.holeTtlMs ? await this.#settled(key) : true;
  }

  /** False: a writer whose intent ran out may still commit. Its row must not be read before, and be cached after that. */
  async #settled(key: string): Promise<boolean> {
    const { settings, store } = this.#context;
    const timeoutMs = Math.min(SETTLE_MS, settings.leaseMs, settings.storeTimeoutMs);
    return store.fence === undefined || (await store.fence.settle(key, { timeoutMs }).catch(() => false));
  }

  /**
   * True when the fill was accepted, or the lease still stood where nothing is filled: the row was current then.
   *
   * @param mark where rows have tags: what was told before the load
   */
  async fill(
    { cacheKey, key, ttlMs }: Lookup,
    token: string,
    floor: Version,
    row: StoreRow<Value> | undefined,
    mark: string | undefined,
  ): Promise<boolean> {
    const { cache, lifetime, member, settings } = this.#context;
    if (member?.suspended === true) {
      this.release(cacheKey, token);
      return false;
    }
    if (row === undefined && settings.negativeTtlMs === 0) {
      return (await cache.run({ kind: 'release', key: cacheKey, token })).held;
    }
    if (row === undefined) {
      const absent = { version: NO_VERSION, payload: null, ttlMs: settings.negativeTtlMs, staleAtMs: 0 };
      const reply = await cache.run({ kind: 'fill', key: cacheKey, token, ...absent });
      if (reply.outcome !== 'filled') reportFillRefused(this.#context, key, reply.outcome);
      return reply.outcome === 'filled';
    }
    const encoding = this.#payload(key, row.value, row.version, mark);
    if (encoding instanceof Promise) this.#encodings.set(cacheKey, encoding);
    const payload = encoding instanceof Promise ? await encoding : encoding;
    if (encoding instanceof Promise && this.#encodings.get(cacheKey) === encoding) {
      this.#encodings.delete(cacheKey);
    }
    if (payload === undefined) {
      this.#uncacheable.add(key);
      const { held } = await cache.run({ kind: 'release', key: cacheKey, token });
      return held && row.version >= floor;
    }
    const fill = { kind: 'fill', key: cacheKey, token, ...lifetime(ttlMs) } as const;
    const reply = await cache.run({ ...fill, payload, version: row.version });
    if (reply.outcome === 'filled') return true;
    reportFillRefused(this.#context, key, reply.outcome);
    if (reply.outcome === 'lost') return false;
    const restamped = await this.#restamp(key, row.version, reply.floor);
    const again = restamped && (await this.#payload(key, restamped.value, restamped.version, mark));
    if (restamped === undefined || again === undefined) this.release(cacheKey, token);
    else await cache.run({ ...fill, payload: again, version: restamped.version });
    return false;
  }

  /** Resolves once a fill of the key that is being compressed is on its way to the cache. */
  async sent(cacheKey: string): Promise<void> {
    await this.#encodings.get(cacheKey);
  }

  /**
   * A row that is below the floor although the lease stands was stamped by a clock that stepped back, or
   * before a delete that it waited for: the store gives it a version that readers may keep. The row is the store's
   * answer: the reader has the one that was loaded.
   */
  async #restamp(
    key: string,
    ifVersion: Version,
    above: Version,
  ): Promise<{ readonly value: Value; readonly version: Version } | undefined> {
    const { settings, store } = this.#context;
    if (!store.capabilities.restamp) return undefined;
    const [outcome] = await store.write([{ kind: 'restamp', key, ifVersion, above }], {
      timeoutMs: settings.storeTimeoutMs,
    });
    if (outcome?.kind !== 'written' || outcome.value === null) return undefined;
    return { value: outcome.value, version: outcome.version };
  }

  /** Puts a newer load in the place of the value that was there before it began. Never rejects. */
  async replace(
    { cacheKey, key, ttlMs }: Lookup,
    row: StoreRow<Value> | undefined,
    before: CacheHit,
    mark: string | undefined,
  ): Promise<void> {
    const { cache, events, lifetime, member, store } = this.#context;
    try {
      if (member?.suspended === true) return;
      const payload = row && (await this.#payload(key, row.value, row.version, mark));
      if (row === undefined || payload === undefined) return await this.dropEntry(cacheKey);
      const { version } = row;
      const refresh = { kind: 'refresh', key: cacheKey, version, payload, ...lifetime(ttlMs) } as const;
      // The entry must be as it was before the load. Without versions only a changed entry tells of a write; with them
      // a changed entry may hold a row of a later shape.
      const guarded = version === NO_VERSION || store.shape !== undefined;
      await cache.run(guarded ? { ...refresh, unchanged: before } : refresh);
    } catch (error) {
      events.error.emit({ where: 'refresh', error });
    }
  }

  /** Makes the entry a hole, whatever its version. Never rejects. */
  async dropEntry(cacheKey: string): Promise<void> {
    const { cache, settings } = this.#context;
    const { holeTtlMs } = settings;
    const command = { kind: 'invalidate', key: cacheKey, version: NO_VERSION, holeTtlMs } as const;
    await cache.run({ ...command, holeOnEmpty: false }).catch(() => undefined);
  }

  /** The payload, or `undefined` (and an event) where it can't be cached; a promise only where `encode` gives one. */
  #payload(
    key: string,
    value: Value,
    version: Version,
    mark: string | undefined,
  ): Payload | undefined | Promise<Payload | undefined> {
    const { codec, events } = this.#context;
    try {
      const payload = codec.encode(value, key, version, mark);
      return payload instanceof Promise
        ? payload.then((late) => this.#fitting(key, late))
        : this.#fitting(key, payload);
    } catch (error) {
      events.error.emit({ where: 'fill', error });
    }
    return undefined;
  }

  #fitting(key: string, payload: Payload): Payload | undefined {
    if (this.#context.codec.fits(payload)) return payload;
    reportFillRefused(this.#context, key, 'payload-limit');
    return undefined;
  }

  release(cacheKey: string, token: string): void {
    const { activity, cache } = this.#context;
    activity.track(cache.release(cacheKey, token));
  }
}
