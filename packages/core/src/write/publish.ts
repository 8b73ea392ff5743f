import { foreignEntry } from '../cache/client.js';
import type { CollectionContext } from '../collection/context.js';
import type { CacheOutcome } from '../contracts/api.js';
import type { Payload, PutCommand } from '../contracts/cache-commands.js';
import type { ChangedTexts } from '../contracts/declared.js';
import { MAX_VERSION_AHEAD_MS, NO_VERSION, type Version } from '../contracts/version.js';
import { SerializationError } from '../errors.js';
import { callerSleep } from '../kit/wait.js';
import { type Applied, isMoved, type StoreWrite } from './commands.js';
import type { Preparation } from './prepare.js';
import type { Reservation } from './reservation.js';
import type { ValueHints } from './value-hints.js';

/** Called when a write of the key is about to be acknowledged: no later reader joins an earlier load. */
export type Detach = (cacheKey: string) => void;

/** A store that stamps so far below what the cache knew did not believe it: it is more than a day ahead of its clock. */
const DISBELIEVED_US = (MAX_VERSION_AHEAD_MS / 2) * 1_000;

/** A row as the store has it now, `null` after its deletion, and its writer's place in the cache. */
export interface CommittedRow<Value> {
  readonly key: string;
  readonly reservation: Reservation;
  readonly value: Value | null;
  readonly version: Version;
  readonly ttlMs: number;
  /** Tells the texts of the write. `undefined`: nothing was written, the row is as it was. */
  readonly written: ChangedTexts | undefined;
}

/** A class, not a literal: see `pending-write.ts`. */
class WrittenRow<Value> implements CommittedRow<Value> {
  readonly key: string;
  readonly reservation: Reservation;
  readonly value: Value | null;
  readonly version: Version;
  readonly ttlMs: number;
  readonly written: ChangedTexts;

  constructor(
    key: string,
    reservation: Reservation,
    written: Extract<Applied<Value>, { readonly kind: 'written' }>,
    ttlMs: number,
  ) {
    this.key = key;
    this.reservation = reservation;
    this.value = written.value;
    this.version = written.version;
    this.ttlMs = ttlMs;
    this.written = written;
  }
}

/** `null`: of a deletion; `undefined`: there is none. */
export type MadePayload = Payload | null | undefined;

/** A class, not a literal: see `pending-write.ts`. */
class Put implements PutCommand {
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
    token: string | undefined,
    version: Version,
    payload: Payload | null,
    { staleAtMs, ttlMs }: Pick<PutCommand, 'ttlMs' | 'staleAtMs'>,
    holeTtlMs: number,
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

/** Told once, never at once, what became of the cache. `nowMs`: the clock's `monotonic`, where it is known. */
type Published = (cache: CacheOutcome, nowMs?: number) => void;

/**
 * The last step of a write: the cache is brought in step with the commit. Put, else invalidate, else the queue, else
 * the change feed: the write has succeeded in each of these cases.
 */
export class Publication<Value> {
  readonly #collection: CollectionContext<Value>;
  readonly #preparation: Preparation<Value>;
  readonly #hints: ValueHints | undefined;
  readonly #detach: Detach;
  /** Writes leave no value in the cache: a hint only says what to stamp above. */
  readonly #aside: boolean;

  constructor(
    collection: CollectionContext<Value>,
    preparation: Preparation<Value>,
    hints: ValueHints | undefined,
    detach: Detach,
  ) {
    this.#collection = collection;
    this.#preparation = preparation;
    this.#hints = hints;
    this.#detach = detach;
    this.#aside = collection.settings.strategy === 'cache-aside';
  }

  /** After the store has answered a write of one key. */
  publish(
    { key, ttlMs }: Pick<StoreWrite<Value>, 'key' | 'ttlMs'>,
    reservation: Reservation,
    outcome: Applied<Value>,
    published: Published,
  ): void {
    if (outcome.kind === 'written' && !isMoved(key, outcome)) {
      this.publishRow(new WrittenRow(key, reservation, outcome, ttlMs), published);
      return;
    }
    this.#preparation.abandon(key, reservation);
    if (outcome.kind === 'written') {
      // A row that the store keeps under another key than it was written with: readers fill what is there.
      const both = [key, outcome.key ?? key].map((each) =>
        this.invalidate(each, outcome.version, false, outcome),
      );
      void Promise.all(both).then((all) =>
        published(all.find((each) => each !== 'invalidated') ?? 'invalidated'),
      );
      return;
    }
    // Nothing was written, and the caller's idea of the row was wrong: so may be what is cached.
    const version = outcome.kind === 'missing' ? NO_VERSION : outcome.version;
    void this.invalidate(key, version).then((cache) => published(cache));
  }

  publishRow(row: CommittedRow<Value>, published: Published): void {
    const { key, reservation, value, version } = row;
    const { cacheSwitch, member, tags } = this.#collection;
    // An entry that no reader could take would be in the way of what readers load.
    const isMarked = tags?.rows === undefined || reservation.mark !== undefined || value === null;
    if (cacheSwitch.off || member?.suspended === true || !isMarked) {
      this.#floor(row, version, false, published);
      return;
    }
    const payload = this.payloadOf(key, value, version, reservation.mark);
    if (payload instanceof Promise) {
      payload
        .then((late) => this.#publishPayload(row, late, published))
        .catch(
          () => void this.invalidate(key, version, false, row.written).then((cache) => published(cache)),
        );
    } else this.#publishPayload(row, payload, published);
  }

  #publishPayload(row: CommittedRow<Value>, payload: MadePayload, published: Published): void {
    const { reservation, version } = row;
    if (payload === undefined || this.#aside || this.#collection.member?.mayFill() === false) {
      this.#floor(row, version, payload === undefined, published);
    } else if (version !== NO_VERSION && reservation.above - version > DISBELIEVED_US) {
      // The store did not believe the version that the cache knew: nothing orders the two, so what is cached goes.
      this.#floor(row, NO_VERSION, false, published);
    } else if (reservation.placeable === undefined) {
      this.#put(row, payload, published);
    } else {
      void reservation.placeable.then((placed) => {
        if (placed) this.#put(row, payload, published);
        else this.#floor(row, version, true, published);
      });
    }
  }

  /** `undefined`: the row can't be cached, and its key gets a floor. A promise only where `encode` gives one. */
  payloadOf(
    key: string,
    value: Value | null,
    version: Version | undefined,
    mark: string | undefined,
  ): MadePayload | Promise<MadePayload> {
    const { codec, events } = this.#collection;
    if (value === null) return codec.encodeAbsent(key, version);
    try {
      const payload = codec.encode(value, key, version, mark);
      return payload instanceof Promise
        ? payload.then((late) => this.#fitting(late))
        : this.#fitting(payload);
    } catch (error) {
      // The row is committed and not what was checked before (a default, a trigger).
      if (!(error instanceof SerializationError)) throw error;
      events.error.emit({ where: 'serialize', error });
      return undefined;
    }
  }

  #fitting(payload: Payload): MadePayload {
    return this.#collection.codec.fits(payload) ? payload : undefined;
  }

  #floor(
    { key, reservation, written }: CommittedRow<Value>,
    version: Version,
    holeOnEmpty: boolean,
    published: Published,
  ): void {
    this.#preparation.abandon(key, reservation);
    void this.invalidate(key, version, holeOnEmpty, written).then((outcome) => {
      if (outcome === 'invalidated' && this.#aside) this.#hints?.set(key, version, reservation);
      published(outcome);
    });
  }

  /** Hot path: the answer comes without a promise of its own. */
  #put(row: CommittedRow<Value>, payload: Payload | null, published: Published): void {
    const { cache, keyPrefix, lifetime, member, settings } = this.#collection;
    const { key, reservation, ttlMs, version, written } = row;
    const cacheKey = keyPrefix + key;
    const put = new Put(cacheKey, reservation.token, version, payload, lifetime(ttlMs), settings.holeTtlMs);
    cache.send<PutCommand>(put, (reply, nowMs) => {
      if (reply instanceof Error || reply.outcome === 'foreign') {
        void this.invalidate(row.key, row.version, false, row.written).then((cache) => published(cache));
      } else {
        this.#detach(cacheKey);
        this.#took(row, reply.outcome, others, published, nowMs);
      }
    });
    // Behind the put, in the same batch.
    const others = written && member?.invalidateOthers(key, version, written);
  }

  #took(
    { key, reservation, version, written }: CommittedRow<Value>,
    outcome: 'stored' | 'superseded' | 'floored',
    others: Promise<boolean> | undefined,
    published: Published,
    nowMs: number,
  ): void {
    const { member, store } = this.#collection;
    if (outcome === 'floored') this.#hints?.delete(key);
    else this.#hints?.set(key, version, reservation);
    if (outcome !== 'stored') this.#refused(key, version, outcome);
    const done = outcome === 'floored' ? 'invalidated' : 'updated';
    if (outcome === 'superseded' && store.capabilities.adopts === true) {
      void this.#superseded(others, key, version, written).then((cache) => published(cache));
      return;
    }
    const dealt = (written && member?.dealtWith(others, key, version, written, nowMs)) ?? true;
    if (dealt instanceof Promise) void dealt.then((all) => published(all ? done : 'deferred'));
    else published(dealt ? done : 'deferred', nowMs);
  }

  /**
   * The cache holds a newer value, of a store whose rows others may lower. Unless the row is above this write, too,
   * nothing is acknowledged, to the feed neither: it brings the row above what the cache holds. Does not reject.
   */
  async #superseded(
    begun: Promise<boolean> | undefined,
    key: string,
    version: Version,
    written: ChangedTexts | undefined,
  ): Promise<CacheOutcome> {
    const { member, settings, store } = this.#collection;
    try {
      const [row] = await store.read([key], { timeoutMs: settings.storeTimeoutMs, primary: true });
      if (row === undefined || row.version <= version) return 'deferred';
    } catch {
      return 'deferred';
    }
    const dealt = written && (await member?.dealtWith(begun, key, version, written));
    return dealt === false ? 'deferred' : 'updated';
  }

  /**
   * Makes everything below a version unreadable, by whichever way is left. `0`: whatever is cached. Never rejects.
   *
   * @param written tells the texts of the write. `undefined`: nothing was written; the table's other collections, lookups
   *   and views are in step with whoever wrote the row, so they are not told
   */
  async invalidate(
    key: string,
    given: Version,
    holeOnEmpty = false,
    written?: ChangedTexts,
  ): Promise<CacheOutcome> {
    const { clock, handover, keyPrefix, member, settings } = this.#collection;
    // Versions of rows that are not kept in step order nothing.
    const version = member?.suspended === true ? NO_VERSION : given;
    const cacheKey = keyPrefix + key;
    if (!this.#aside) this.#hints?.delete(key);
    try {
      return await this.#invalidated(key, cacheKey, version, holeOnEmpty, written);
    } catch {
      const taken = await handover.offer({ kind: 'invalidate', key: cacheKey, version });
      // Nothing but the clocks orders this write before one that is buffered from now on.
      if (settings.burst !== undefined) await callerSleep(clock, settings.burst.maxClockSkewMs);
      return taken ? 'queued' : 'deferred';
    } finally {
      this.#detach(cacheKey);
    }
  }

  /** Rejects where the cache does not take it. */
  async #invalidated(
    key: string,
    cacheKey: string,
    version: Version,
    holeOnEmpty: boolean,
    written: ChangedTexts | undefined,
  ): Promise<CacheOutcome> {
    const { cache, member, settings, store } = this.#collection;
    const invalidating = cache.run({
      kind: 'invalidate',
      key: cacheKey,
      version,
      holeTtlMs: settings.holeTtlMs,
      holeOnEmpty: holeOnEmpty || store.capabilities.replicaReads,
    });
    // All are told of a write, whether its version is believed or not.
    const others = written && member?.invalidateOthers(key, version, written);
    const { outcome } = await invalidating;
    if (outcome === 'foreign') throw foreignEntry(cacheKey);
    if (written === undefined) return 'invalidated';
    if (version === NO_VERSION) return (await others) === false ? 'deferred' : 'invalidated';
    return (await member?.dealtWith(others, key, version, written)) === false ? 'deferred' : 'invalidated';
  }

  #refused(key: string, version: Version, reason: 'superseded' | 'floored'): void {
    const { events, settings } = this.#collection;
    if (events.putRefused.wanted) events.putRefused.emit({ collection: settings.name, key, version, reason });
  }
}
