import type { CacheClient } from '../cache/client.js';
import type { KeptByCache } from '../cache/kept.js';
import type { CollectionSettings } from '../collection/settings.js';
import type { Versioned } from '../contracts/api.js';
import type { CacheHit, LeaseReply, Payload } from '../contracts/cache-commands.js';
import type { Clock } from '../contracts/clock.js';
import type { LockstepEventMap } from '../contracts/events.js';
import type { StoreAdapter, StoreRow } from '../contracts/store.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import { CacheUnavailableError } from '../errors.js';
import type { Membership } from '../feed/membership.js';
import { callerSleep } from '../kit/wait.js';
import type { Activity } from '../runtime/activity.js';
import type { EventHub } from '../runtime/events.js';
import type { Codec } from '../values/codec.js';
import { UncacheableKeys } from './uncacheable.js';

/** Loads one row; `primary`: where writes go. */
export type Load<Value> = (key: string, primary: boolean) => Promise<StoreRow<Value> | undefined>;

export interface ReaderOptions<Value> {
  readonly settings: CollectionSettings;
  readonly store: StoreAdapter<Value, never>;
  readonly codec: Codec<Value>;
  readonly cache: CacheClient;
  readonly kept: KeptByCache;
  readonly load: Load<Value>;
  readonly clock: Clock;
  readonly events: EventHub;
  readonly activity: Activity;
  readonly nextToken: () => string;
  /** Of a store that tells of its changes: whether everyone who writes knows of this collection. */
  readonly member: Membership | undefined;
  readonly lifetime: (ttlMs: number) => { readonly ttlMs: number; readonly staleAtMs: number };
  /** Where writes may be buffered: brings a key's buffered write into the store. */
  readonly flushKey: ((key: string) => Promise<void>) | undefined;
}

type Granted = Extract<LeaseReply, { outcome: 'granted' }>;
type MissReason = LockstepEventMap['miss']['reason'];

const FIRST_POLL_MS = 2;
const LAST_POLL_MS = 25;
/** What a reader waits for writers whose intents ran out: no longer than it would be waited for itself. */
const SETTLE_MS = 250;

/** A load under this process's lease that other readers of the process may join. */
interface Flight<Value> {
  /** What was loaded, once the fill has proved it current; `undefined` when it has not. */
  readonly proven: Promise<Versioned<Value> | undefined>;
  settle(proven: Versioned<Value> | undefined): void;
}

/**
 * The read path: the cache; on a miss one load per process (single flight) and one per fleet (the
 * lease); the store alone where the cache can't be reached.
 *
 * A reader may join a load that began before it only if that load proves to be current after the reader
 * began (G2): it joins before the fill is sent, and takes the row only if the fill was accepted, which
 * says that no write came between the lease and the fill. Otherwise it bids for the lease itself.
 */
export class Reader<Value> {
  readonly #options: ReaderOptions<Value>;
  /** Loads that have not sent their fill yet. */
  readonly #flights = new Map<string, Flight<Value>>();
  readonly #revalidating = new Set<string>();
  readonly #uncacheable: UncacheableKeys;
  readonly #strict: boolean;

  constructor(options: ReaderOptions<Value>) {
    this.#options = options;
    this.#uncacheable = new UncacheableKeys(options.clock);
    this.#strict = options.settings.consistency === 'strict';
  }

  /**
   * No reader that begins from now on joins a load that began before. Called when a write of the key is
   * acknowledged: the cache may not have heard of it, and the fill be accepted.
   */
  detach(cacheKey: string): void {
    this.#flights.delete(cacheKey);
  }

  /** Reads one entity. */
  async read(key: string, cacheKey: string, ttlMs: number, load?: Load<Value>): Promise<Versioned<Value>> {
    const { cache, clock, codec, events, flushKey } = this.#options;
    const timed = events.hit.wanted || events.miss.wanted;
    const startedAt = timed ? clock.monotonic() : 0;
    const { trust } = cache;
    let hit: CacheHit | undefined;
    // What is buffered is in the cache alone: there it is looked for all the same.
    if (flushKey === undefined && trust.isLost(cacheKey)) return await this.#readStore(key, startedAt, load);
    try {
      hit = await cache.read(cacheKey, codec.serializer.encoding);
    } catch {
      return await this.#readStore(key, startedAt, load);
    }
    if (hit !== undefined && !trust.holds(cacheKey) && !(await trust.proves(cacheKey))) {
      if (hit.unflushed) await flushKey?.(key).catch(unlessUnavailable);
      return await this.#readStore(key, startedAt, load);
    }
    // Such a version is nobody's. To the scripts there is nothing at the key.
    if (hit !== undefined && hit.version <= trust.maxVersion(cacheKey)) {
      const decoding = codec.decode(hit, key);
      const decoded = decoding instanceof Promise ? await decoding : decoding;
      if (decoded.ok) return this.#hit(key, cacheKey, hit, decoded.value, ttlMs, load, startedAt);
      this.#missed(key, decoded.reason, startedAt);
      const forged = decoded.reason === 'integrity';
      return await this.#options.activity.track(this.#reload(key, cacheKey, ttlMs, load, forged));
    }
    this.#missed(key, 'absent', startedAt);
    if (this.#uncacheable.has(key)) return await this.#options.activity.track(this.#loadOnly(key, load));
    const proven = await this.#flights.get(cacheKey)?.proven;
    return proven ?? (await this.#options.activity.track(this.#loadThrough(key, cacheKey, ttlMs, load)));
  }

  /** The cache can't be reached, or can't be believed. */
  #readStore(key: string, startedAt: number, load: Load<Value> | undefined): Promise<Versioned<Value>> {
    this.#missed(key, 'unavailable', startedAt);
    this.#options.cache.trust.due();
    return this.#options.activity.track(this.#loadOnly(key, load));
  }

  /** Asks the store's primary and puts what it says into the cache, whatever the cache holds. */
  async refresh(key: string, cacheKey: string, ttlMs: number, load?: Load<Value>): Promise<Versioned<Value>> {
    this.#missed(key, 'fresh', this.#options.clock.monotonic());
    return await this.#options.activity.track(this.#reload(key, cacheKey, ttlMs, load));
  }

  #hit(
    key: string,
    cacheKey: string,
    hit: CacheHit,
    value: Value | null,
    ttlMs: number,
    load: Load<Value> | undefined,
    startedAt: number,
  ): Versioned<Value> {
    const { clock, events, settings } = this.#options;
    const stale = hit.staleAtMs > 0 && clock.now() >= hit.staleAtMs;
    if (stale) this.#revalidate(key, cacheKey, ttlMs, load);
    if (events.hit.wanted) {
      const durationMs = clock.monotonic() - startedAt;
      events.hit.emit({ collection: settings.name, key, version: hit.version, stale, durationMs });
    }
    return { value, version: hit.version, from: 'cache' };
  }

  /** One background refresh per key and process; a failure leaves the entry to expire. */
  #revalidate(key: string, cacheKey: string, ttlMs: number, load: Load<Value> | undefined): void {
    if (this.#revalidating.has(cacheKey)) return;
    this.#revalidating.add(cacheKey);
    const { activity, events } = this.#options;
    activity.track(
      this.#reload(key, cacheKey, ttlMs, load)
        .catch((error: unknown) => events.error.emit({ where: 'revalidate', error }))
        .finally(() => this.#revalidating.delete(cacheKey)),
    );
  }

  /** The store alone: fills nothing. No floor tells whether a replica lags, so it asks the primary. */
  async #loadOnly(key: string, load = this.#options.load): Promise<Versioned<Value>> {
    return versioned(await load(key, true));
  }

  /** The miss: takes the lease and loads, or waits for its holder, or passes by. */
  async #loadThrough(
    key: string,
    cacheKey: string,
    ttlMs: number,
    load: Load<Value> | undefined,
  ): Promise<Versioned<Value>> {
    const { cache, clock, codec, member, nextToken, settings } = this.#options;
    if (member?.mayFill() === false) return await this.#loadOnly(key, load);
    const giveUpAt = clock.monotonic() + settings.leaseWaitMs;
    const token = nextToken();
    for (let pollMs = FIRST_POLL_MS; ; pollMs = Math.min(pollMs * 2, LAST_POLL_MS)) {
      const reply = await cache.run(this.#lease(cacheKey, token)).catch(() => undefined);
      if (reply === undefined) return await this.#loadOnly(key, load);
      if (reply.outcome === 'hit') {
        const decoded = await codec.decode(reply.hit, key);
        if (decoded.ok) return { value: decoded.value, version: reply.hit.version, from: 'cache' };
        return await this.#reload(key, cacheKey, ttlMs, load, decoded.reason === 'integrity');
      }
      if (reply.outcome === 'granted') {
        return await this.#loadAndFill(key, cacheKey, token, reply, ttlMs, load);
      }
      if (reply.outcome !== 'busy' || clock.monotonic() >= giveUpAt) {
        if (reply.outcome !== 'busy') this.#refused(key, reply.outcome === 'pass' ? 'writers' : 'foreign');
        return await this.#loadOnly(key, load);
      }
      const flight = this.#flights.get(cacheKey);
      if (flight === undefined) {
        await callerSleep(clock, Math.min(pollMs, reply.remainingMs + 1));
        continue;
      }
      // The holder is of this process: readers of one turn, and of one `getMany`, meet here.
      const proven = await flight.proven;
      if (proven !== undefined) return proven;
    }
  }

  #lease(cacheKey: string, token: string) {
    const { codec, settings } = this.#options;
    return {
      kind: 'lease',
      key: cacheKey,
      token,
      leaseMs: settings.leaseMs,
      holeTtlMs: settings.holeTtlMs,
      encoding: codec.serializer.encoding,
    } as const;
  }

  /** Loads under the lease. The reader gets the row at once; the fill goes on behind it. */
  async #loadAndFill(
    key: string,
    cacheKey: string,
    token: string,
    { behind, floor }: Granted,
    ttlMs: number,
    load = this.#options.load,
  ): Promise<Versioned<Value>> {
    const { activity, events, store } = this.#options;
    if ((behind || this.#strict) && !(await this.#mayFill(key, cacheKey, behind === true))) {
      this.#release(cacheKey, token);
      this.#refused(key, 'writers');
      return await this.#loadOnly(key, load);
    }
    const { promise, resolve } = Promise.withResolvers<Versioned<Value> | undefined>();
    const flight: Flight<Value> = { proven: promise, settle: resolve };
    this.#flights.set(cacheKey, flight);
    let row: StoreRow<Value> | undefined;
    try {
      row = await load(key, this.#strict);
      const lags = (row?.version ?? NO_VERSION) < floor;
      if (lags && store.capabilities.replicaReads) row = await load(key, true);
    } catch (error) {
      this.#leave(cacheKey, flight);
      flight.settle(undefined);
      this.#release(cacheKey, token);
      throw error;
    }
    const found = versioned(row);
    this.#leave(cacheKey, flight);
    const filling = this.#fill(key, cacheKey, token, floor, row, ttlMs).then(
      (filled) => flight.settle(filled ? found : undefined),
      (error: unknown) => {
        flight.settle(undefined);
        this.#release(cacheKey, token);
        events.error.emit({ where: 'fill', error });
      },
    );
    activity.track(filling);
    return found;
  }

  /**
   * False: a write may still be committed of which the entry does not tell, so that what is loaded now must not be
   * cached. A cache that lost its intents a while ago lost the marks of those that ran out since, too.
   */
  async #mayFill(key: string, cacheKey: string, behind: boolean): Promise<boolean> {
    if (!this.#strict) return this.#settled(key);
    const { kept, settings } = this.#options;
    const keptMs = await kept.allMs(cacheKey);
    if (keptMs === 0) return false;
    return behind || keptMs < settings.holeTtlMs ? this.#settled(key) : true;
  }

  /** False: a writer whose intent ran out may still commit. Its row must not be read before, and be cached after that. */
  async #settled(key: string): Promise<boolean> {
    const { settings, store } = this.#options;
    const timeoutMs = Math.min(SETTLE_MS, settings.leaseMs, settings.storeTimeoutMs);
    return store.fence === undefined || (await store.fence.settle(key, { timeoutMs }).catch(() => false));
  }

  /** Nobody joins the flight any more. */
  #leave(cacheKey: string, flight: Flight<Value>): void {
    if (this.#flights.get(cacheKey) === flight) this.#flights.delete(cacheKey);
  }

  /** True when the fill was accepted, or the lease still stood where nothing is filled: the row was current then. */
  async #fill(
    key: string,
    cacheKey: string,
    token: string,
    floor: Version,
    row: StoreRow<Value> | undefined,
    ttlMs: number,
  ): Promise<boolean> {
    const { cache, lifetime, settings } = this.#options;
    if (row === undefined && settings.negativeTtlMs === 0) {
      return (await cache.run({ kind: 'release', key: cacheKey, token })).held;
    }
    if (row === undefined) {
      const absent = { version: NO_VERSION, payload: null, ttlMs: settings.negativeTtlMs, staleAtMs: 0 };
      const reply = await cache.run({ kind: 'fill', key: cacheKey, token, ...absent });
      if (reply.outcome !== 'filled') this.#refused(key, reply.outcome);
      return reply.outcome === 'filled';
    }
    const payload = this.#payload(key, row.value, row.version);
    if (payload === undefined) {
      this.#uncacheable.add(key);
      const { held } = await cache.run({ kind: 'release', key: cacheKey, token });
      return held && row.version >= floor;
    }
    const fill = { kind: 'fill', key: cacheKey, token, ...lifetime(ttlMs) } as const;
    const reply = await cache.run({ ...fill, payload, version: row.version });
    if (reply.outcome === 'filled') return true;
    this.#refused(key, reply.outcome);
    if (reply.outcome === 'lost') return false;
    const version = await this.#restamp(key, row.version, reply.floor);
    const restamped = version === undefined ? undefined : this.#payload(key, row.value, version);
    if (version === undefined || restamped === undefined) this.#release(cacheKey, token);
    else await cache.run({ ...fill, payload: restamped, version });
    return false;
  }

  /**
   * A row that is below the floor although the lease stands was stamped by a clock that stepped back, or
   * before a delete that it waited for: the store gives it a version that readers may keep.
   */
  async #restamp(key: string, ifVersion: Version, above: Version): Promise<Version | undefined> {
    const { settings, store } = this.#options;
    if (!store.capabilities.restamp) return undefined;
    const [outcome] = await store.write([{ kind: 'restamp', key, ifVersion, above }], {
      timeoutMs: settings.storeTimeoutMs,
    });
    return outcome?.kind === 'written' ? outcome.version : undefined;
  }

  /**
   * Loads from the primary and replaces what the cache holds: a value by a newer one, a hole by a fill.
   *
   * @param forged the version of what is cached is worth nothing
   */
  async #reload(
    key: string,
    cacheKey: string,
    ttlMs: number,
    load = this.#options.load,
    forged = false,
  ): Promise<Versioned<Value>> {
    const { activity, cache, member, nextToken } = this.#options;
    if (member?.mayFill() === false) return await this.#loadOnly(key, load);
    if (forged) await this.#makeWay(cacheKey);
    const token = nextToken();
    const lease = this.#lease(cacheKey, token);
    let reply = await cache.run(lease).catch(() => undefined);
    if (reply?.outcome === 'hit' && reply.hit.version === NO_VERSION) {
      // Without a version the two can't be compared: what is cached makes way.
      await this.#makeWay(cacheKey);
      reply = await cache.run(lease).catch(() => undefined);
    }
    if (reply?.outcome === 'granted') {
      return await this.#loadAndFill(key, cacheKey, token, reply, ttlMs, (k) => load(k, true));
    }
    const row = await load(key, true);
    // A value that can't be replaced is left to the next reader; nobody waits for this.
    if (reply?.outcome === 'hit') activity.track(this.#replace(key, cacheKey, row, ttlMs));
    return versioned(row);
  }

  async #replace(
    key: string,
    cacheKey: string,
    row: StoreRow<Value> | undefined,
    ttlMs: number,
  ): Promise<void> {
    const { cache, events, lifetime } = this.#options;
    try {
      const payload = row === undefined ? undefined : this.#payload(key, row.value, row.version);
      if (row === undefined || payload === undefined) return await this.#makeWay(cacheKey);
      const { version } = row;
      await cache.run({ kind: 'refresh', key: cacheKey, version, payload, ...lifetime(ttlMs) });
    } catch (error) {
      events.error.emit({ where: 'refresh', error });
    }
  }

  async #makeWay(cacheKey: string): Promise<void> {
    const { cache, settings } = this.#options;
    const { holeTtlMs } = settings;
    const command = { kind: 'invalidate', key: cacheKey, version: NO_VERSION, holeTtlMs } as const;
    await cache.run({ ...command, holeOnEmpty: false }).catch(() => undefined);
  }

  /** The payload, or `undefined` (and an event) where it can't be cached. */
  #payload(key: string, value: Value, version: Version): Payload | undefined {
    const { codec, events } = this.#options;
    try {
      const payload = codec.encode(value, key, version);
      if (codec.fits(payload)) return payload;
      this.#refused(key, 'payload-limit');
    } catch (error) {
      events.error.emit({ where: 'fill', error });
    }
    return undefined;
  }

  #release(cacheKey: string, token: string): void {
    const { activity, cache } = this.#options;
    // Unanswered, the lease runs out by itself.
    activity.track(cache.run({ kind: 'release', key: cacheKey, token }).catch(() => undefined));
  }

  #missed(key: string, reason: MissReason, startedAt: number): void {
    const { clock, events, settings } = this.#options;
    if (!events.miss.wanted) return;
    const durationMs = clock.monotonic() - startedAt;
    events.miss.emit({ collection: settings.name, key, reason, durationMs });
  }

  #refused(key: string, reason: LockstepEventMap['fillRefused']['reason']): void {
    const { events, settings } = this.#options;
    if (events.fillRefused.wanted) events.fillRefused.emit({ collection: settings.name, key, reason });
  }
}

/** A flush that the cache did not hear of is in the store all the same. */
function unlessUnavailable(error: unknown): void {
  if (!(error instanceof CacheUnavailableError)) throw error;
}

function versioned<Value>(row: StoreRow<Value> | undefined): Versioned<Value> {
  return row === undefined
    ? { value: null, version: NO_VERSION, from: 'store' }
    : { value: row.value, version: row.version, from: 'store' };
}
