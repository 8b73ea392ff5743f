import { type CacheClient, foreignEntry } from '../cache/client.js';
import type { KeptByCache } from '../cache/kept.js';
import { type CollectionSettings, DEFAULT_TRANSACTION_TIMEOUT_MS } from '../collection/settings.js';
import type { CacheOutcome } from '../contracts/api.js';
import type { IntendCommand, Payload, PutCommand, ReserveReply } from '../contracts/cache-commands.js';
import type { Clock } from '../contracts/clock.js';
import type { StoreAdapter } from '../contracts/store.js';
import { MAX_VERSION_AHEAD_MS, NO_VERSION, type Version } from '../contracts/version.js';
import {
  CacheUnavailableError,
  StoreOverloadedError,
  StoreRefusedError,
  UnsupportedError,
} from '../errors.js';
import type { Handover } from '../feed/handover.js';
import type { Membership } from '../feed/membership.js';
import { callerSleep } from '../kit/wait.js';
import type { Activity } from '../runtime/activity.js';
import type { EventHub } from '../runtime/events.js';
import type { Reservation } from './reservation.js';
import { ValueHints } from './value-hints.js';

export interface CacheSideOptions {
  readonly settings: CollectionSettings;
  readonly store: StoreAdapter<never, never>;
  readonly cache: CacheClient;
  readonly kept: KeptByCache;
  readonly handover: Handover;
  readonly events: EventHub;
  readonly activity: Activity;
  readonly nextToken: () => string;
  /** The time to live of a new entry: jittered. */
  readonly lifetime: (ttlMs: number) => { readonly ttlMs: number; readonly staleAtMs: number };
  readonly clock: Clock;
  /** Called when a write of the key is about to be acknowledged: no later reader joins an earlier load. */
  readonly detach: (cacheKey: string) => void;
  /** Of a store that tells of its changes: the collections that are kept in step beside this one. */
  readonly member: Membership | undefined;
  /** Where writes may be buffered: brings a key's buffered write into the store. */
  readonly flushKey: ((key: string, patienceMs?: number) => Promise<void>) | undefined;
}

/** A class for the reason that `unit.ts` (in `write`) gives. */
class CachePut implements PutCommand {
  readonly kind = 'put';
  readonly key: string;
  readonly token: string | undefined;
  readonly version: Version;
  readonly payload: Payload | null;
  readonly ttlMs: number;
  readonly staleAtMs: number;
  readonly holeTtlMs: number;

  constructor(
    key: string,
    { token }: Reservation,
    version: Version,
    payload: Payload | null,
    { staleAtMs, ttlMs }: ReturnType<CacheSideOptions['lifetime']>,
    { holeTtlMs }: CollectionSettings,
  ) {
    this.key = key;
    this.token = token;
    this.version = version;
    this.payload = payload;
    this.ttlMs = ttlMs;
    this.staleAtMs = staleAtMs;
    this.holeTtlMs = holeTtlMs;
  }
}

/** A store that stamps so far below what the cache knew did not believe it: it is more than a day ahead of its clock. */
const DISBELIEVED_US = (MAX_VERSION_AHEAD_MS / 2) * 1_000;
/** What an intent outlives its write by, in ms. */
const INTENT_MARGIN_MS = 1_000;
/** How long a transaction waits for the flush of a key, in ms. */
export const INSIDE_PATIENCE_MS = 1_000;
/** How often a key is flushed again because others went on buffering writes of it. */
const MAX_FLUSHES = 20;

/**
 * The cache's part of every write: prepare before the store is touched, settle after the commit,
 * abandon when there was none.
 */
export class CacheSide {
  readonly #options: CacheSideOptions;
  /** A collection that is strict, or whose store has no versions, protects all its writes by intents. */
  readonly #usesIntents: boolean;
  /** `undefined`: all writes ask the cache. What this process remembers may be below what another has buffered since. */
  readonly #hints: ValueHints | undefined;
  /** Writes leave no value in the cache: a hint only says what to stamp above. */
  readonly #aside: boolean;
  /** How long a write on its own may take, from its intent to its commit. */
  readonly #writeMs: number;
  readonly #strict: boolean;

  constructor(options: CacheSideOptions) {
    const { flushKey, settings, store } = options;
    this.#options = options;
    this.#usesIntents = settings.consistency === 'strict' || !store.capabilities.versioned;
    this.#hints = this.#usesIntents || flushKey !== undefined ? undefined : new ValueHints();
    this.#aside = settings.strategy === 'cache-aside';
    this.#writeMs = settings.batch.queueTimeoutMs + settings.storeTimeoutMs;
    this.#strict = settings.consistency === 'strict';
    const longestMs = Math.max(this.#writeMs, DEFAULT_TRANSACTION_TIMEOUT_MS) + INTENT_MARGIN_MS;
    if (this.#strict) options.kept.intends(longestMs);
  }

  /**
   * Notes the writer in the cache. Where the cache can't be reached a strict writer's rejects with
   * `CacheUnavailableError`, and so does one that reads before it writes where writes may be buffered,
   * since the store may not have what it should read; the others go on without.
   *
   * @param blind the write asks nothing of the row that it replaces
   * @param endsAtMs when the store ends the write's transaction, by the monotonic clock
   */
  prepare(
    key: string,
    cacheKey: string,
    blind: boolean,
    endsAtMs?: number,
  ): Reservation | Promise<Reservation> {
    const { clock, flushKey, member } = this.#options;
    member?.touch();
    const writeMs = endsAtMs === undefined ? this.#writeMs : Math.max(0, endsAtMs - clock.monotonic());
    if (flushKey !== undefined && !blind) {
      // A transaction may hold the very row that its flush waits for.
      const patienceMs = endsAtMs === undefined ? undefined : INSIDE_PATIENCE_MS;
      return this.#intendFlushed(key, cacheKey, writeMs, (one) => flushKey(one, patienceMs));
    }
    if (this.#usesIntents) return this.#announce(cacheKey, writeMs, endsAtMs !== undefined);
    return this.#hints?.get(key) ?? this.#reserve(cacheKey);
  }

  async #reserve(cacheKey: string): Promise<Reservation> {
    const { cache, nextToken, settings } = this.#options;
    const token = nextToken();
    const { holeTtlMs } = settings;
    try {
      const reply = await cache.run({ kind: 'reserve', key: cacheKey, token, holeTtlMs });
      return { above: reply.known, token, intent: false, aheadMs: 0 };
    } catch {
      const aheadMs = settings.burst?.maxClockSkewMs ?? 0;
      return { above: NO_VERSION, token: undefined, intent: false, aheadMs };
    }
  }

  /** Notes an intent, which stands for longer than the store lets the write be committed. */
  async #announce(cacheKey: string, writeMs: number, inside: boolean): Promise<Reservation> {
    const { cache, kept, nextToken, store } = this.#options;
    // Before the intent is sent, so that the deadline comes before its end. A transaction has its own.
    const now = inside ? undefined : store.fence?.nowMs();
    const nowMs = typeof now === 'object' ? await now : now;
    const notAfterMs = nowMs === undefined ? undefined : nowMs + writeMs;
    const token = nextToken();
    try {
      const { known, refused } = await cache.run(this.#intend(cacheKey, token, writeMs));
      if (refused !== undefined) throw notNoted(cacheKey, refused);
      if (!this.#strict) return { above: known, token, intent: true, aheadMs: 0, notAfterMs };
      // Asked once the intent stands: a cache that loses others from now on loses this one, too.
      kept.intends(writeMs + INTENT_MARGIN_MS);
      const placeable = kept.allMs(cacheKey).then((ms) => ms > 0);
      return { above: known, token, intent: true, aheadMs: 0, notAfterMs, placeable };
    } catch (error) {
      if (this.#strict) throw error;
      return { above: NO_VERSION, token, intent: true, aheadMs: 0, notAfterMs };
    }
  }

  /** Keeps others from buffering what this writer would not see; first the store gets what is buffered. */
  async #intendFlushed(
    key: string,
    cacheKey: string,
    writeMs: number,
    flushKey: (key: string) => Promise<void>,
  ): Promise<Reservation> {
    const { activity, cache, nextToken, settings } = this.#options;
    for (let flushes = 0; flushes < MAX_FLUSHES; flushes++) {
      const token = nextToken();
      try {
        const reply = await cache.run(this.#intend(cacheKey, token, writeMs));
        if (reply.refused !== undefined) throw notNoted(cacheKey, reply.refused);
        if (reply.unflushed !== true) return { above: reply.known, token, intent: true, aheadMs: 0 };
      } catch (error) {
        // Unanswered, it may stand.
        activity.track(cache.run({ kind: 'release', key: cacheKey, token }).catch(() => undefined));
        throw error;
      }
      await flushKey(key);
    }
    const collection = settings.name;
    throw new StoreOverloadedError(
      `collection "${collection}", key "${key}": its writes are buffered faster than they can be flushed`,
      { collection, key },
    );
  }

  #intend(key: string, token: string, writeMs: number): IntendCommand {
    return {
      kind: 'intend',
      key,
      token,
      deadlineMs: writeMs + INTENT_MARGIN_MS,
      holeTtlMs: this.#options.settings.holeTtlMs,
    };
  }

  /**
   * After a write that is certain not to have been committed. An uncertain one keeps its intent until
   * its deadline, since it may have been.
   */
  abandon(cacheKey: string, { intent, token }: Reservation, error?: unknown): void {
    if (!intent || token === undefined) return;
    if (error !== undefined && !isCertain(error)) return;
    const { activity, cache } = this.#options;
    // Unanswered, the intent runs out by itself.
    activity.track(cache.run({ kind: 'release', key: cacheKey, token }).catch(() => undefined));
  }

  /**
   * Brings the cache in step with a commit: put, else invalidate, else the queue, else the change feed.
   *
   * @param payload `null`: the row was deleted; `undefined`: it can't be cached, and its key gets a floor
   * @param settled told once, never at once, what became of the cache
   */
  settle(
    key: string,
    cacheKey: string,
    reservation: Reservation,
    version: Version,
    payload: Payload | null | undefined,
    ttlMs: number,
    settled: (cache: CacheOutcome) => void,
  ): void {
    const { member } = this.#options;
    if (payload === undefined || this.#aside || member?.mayFill() === false) {
      this.#floor(key, cacheKey, reservation, version, payload === undefined, settled);
      return;
    }
    if (version !== NO_VERSION && reservation.above - version > DISBELIEVED_US) {
      // The store did not believe the version that the cache knew: nothing orders the two, so what is cached goes.
      this.#floor(key, cacheKey, reservation, NO_VERSION, false, settled);
      return;
    }
    const { placeable } = reservation;
    if (placeable === undefined) {
      this.#put(key, cacheKey, reservation, version, payload, ttlMs, settled);
      return;
    }
    void placeable.then((placed) => {
      if (placed) this.#put(key, cacheKey, reservation, version, payload, ttlMs, settled);
      else this.#floor(key, cacheKey, reservation, version, true, settled);
    });
  }

  #floor(
    key: string,
    cacheKey: string,
    reservation: Reservation,
    version: Version,
    holeOnEmpty: boolean,
    settled: (cache: CacheOutcome) => void,
  ): void {
    this.abandon(cacheKey, reservation);
    void this.invalidate(key, cacheKey, version, holeOnEmpty).then((outcome) => {
      if (outcome === 'invalidated' && this.#aside) this.#hints?.set(key, version, reservation);
      settled(outcome);
    });
  }

  #put(
    key: string,
    cacheKey: string,
    reservation: Reservation,
    version: Version,
    payload: Payload | null,
    ttlMs: number,
    settled: (cache: CacheOutcome) => void,
  ): void {
    const { cache, detach, lifetime, member, settings, store } = this.#options;
    const put = new CachePut(cacheKey, reservation, version, payload, lifetime(ttlMs), settings);
    cache.send(put, (reply) => {
      if (reply instanceof Error || reply.outcome === 'foreign') {
        void this.invalidate(key, cacheKey, version, false).then(settled);
        return;
      }
      const { outcome } = reply;
      detach(cacheKey);
      if (outcome === 'floored') this.#hints?.delete(key);
      else this.#hints?.set(key, version, reservation);
      if (outcome !== 'stored') this.#refused(key, version, outcome);
      const done = outcome === 'floored' ? 'invalidated' : 'updated';
      if (outcome === 'superseded' && store.capabilities.adopts === true) {
        void this.#superseded(member, others, key, version).then(settled);
        return;
      }
      if (member !== undefined && !member.isAlone()) {
        void this.#withOthers(member, others, key, version, done).then(settled);
        return;
      }
      settled(done);
      member?.acknowledge(key, version);
    });
    // Behind the put, in the same batch.
    const others = member?.invalidateOthers(key, version);
  }

  /**
   * The cache holds a newer value, of a store whose rows others may lower. Unless the row is above this write, too,
   * nothing is acknowledged, to the feed neither: it brings the row above what the cache holds. Does not reject.
   */
  async #superseded(
    member: Membership | undefined,
    begun: Promise<boolean> | undefined,
    key: string,
    version: Version,
  ): Promise<CacheOutcome> {
    const { settings, store } = this.#options;
    try {
      const [row] = await store.read([key], { timeoutMs: settings.storeTimeoutMs, primary: true });
      if (row === undefined || row.version <= version) return 'deferred';
    } catch {
      return 'deferred';
    }
    return member === undefined ? 'updated' : await this.#withOthers(member, begun, key, version, 'updated');
  }

  /** What became of a change once all collections of the table are in step with it, or can't be. Does not reject. */
  async #withOthers(
    member: Membership,
    begun: Promise<boolean> | undefined,
    key: string,
    version: Version,
    done: CacheOutcome,
  ): Promise<CacheOutcome> {
    // The feed holds it: the relay brings in step what could not be reached.
    if (!(await member.allInStep(begun, key, version))) return 'deferred';
    member.acknowledge(key, version);
    return done;
  }

  /** Makes everything below a version unreadable, by whichever way is left. `0`: whatever is cached. Never rejects. */
  async invalidate(
    key: string,
    cacheKey: string,
    version: Version,
    holeOnEmpty: boolean,
  ): Promise<CacheOutcome> {
    const outcome = await this.#invalidated(key, cacheKey, version, holeOnEmpty);
    this.#options.detach(cacheKey);
    return outcome;
  }

  async #invalidated(
    key: string,
    cacheKey: string,
    version: Version,
    holeOnEmpty: boolean,
  ): Promise<CacheOutcome> {
    const { cache, clock, handover, member, settings, store } = this.#options;
    if (!this.#aside) this.#hints?.delete(key);
    try {
      const invalidating = cache.run({
        kind: 'invalidate',
        key: cacheKey,
        version,
        holeTtlMs: settings.holeTtlMs,
        holeOnEmpty: holeOnEmpty || store.capabilities.replicaReads,
      });
      const others = version === NO_VERSION ? undefined : member?.invalidateOthers(key, version);
      const { outcome } = await invalidating;
      if (outcome === 'foreign') throw foreignEntry(cacheKey);
      if (member === undefined || version === NO_VERSION) return 'invalidated';
      return await this.#withOthers(member, others, key, version, 'invalidated');
    } catch {
      const taken = await handover.offer({ kind: 'invalidate', key: cacheKey, version });
      // Nothing but the clocks orders this write before one that is buffered from now on.
      if (settings.burst !== undefined) await callerSleep(clock, settings.burst.maxClockSkewMs);
      return taken ? 'queued' : 'deferred';
    }
  }

  #refused(key: string, version: Version, reason: 'superseded' | 'floored'): void {
    const { events, settings } = this.#options;
    if (events.putRefused.wanted) events.putRefused.emit({ collection: settings.name, key, version, reason });
  }
}

function notNoted(key: string, refused: NonNullable<ReserveReply['refused']>): CacheUnavailableError {
  if (refused === 'foreign') return foreignEntry(key);
  return new CacheUnavailableError(`too many writers of "${key}" are under way`, { key });
}

/** True for an error that says that nothing was committed. */
function isCertain(error: unknown): boolean {
  if (error instanceof StoreRefusedError || error instanceof StoreOverloadedError) return true;
  if (error instanceof UnsupportedError) return true;
  return (error as { outcome?: unknown } | null)?.outcome === 'not-committed';
}
