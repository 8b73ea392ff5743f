import { foreignEntry } from '../cache/client.js';
import type { CollectionContext } from '../collection/context.js';
import { DEFAULT_TRANSACTION_TIMEOUT_MS } from '../collection/settings.js';
import type { IntendCommand, ReserveReply } from '../contracts/cache-commands.js';
import type { StoreCommand } from '../contracts/store.js';
import { NO_VERSION } from '../contracts/version.js';
import {
  CacheUnavailableError,
  StoreOverloadedError,
  StoreRefusedError,
  UnsupportedError,
} from '../errors.js';
import { concerning, ofOneRow } from '../kit/concerning.js';
import type { Reservation } from './reservation.js';
import type { ValueHints } from './value-hints.js';

/** An intent outlives its write by this, in ms. */
const INTENT_MARGIN_MS = 1_000;
/** How long a transaction waits for the flush of a key, in ms. */
export const INSIDE_PATIENCE_MS = 1_000;
/** How often a key is flushed again because others went on buffering writes of it. */
const MAX_FLUSHES = 20;

type FlushKey = (key: string, patienceMs?: number) => Promise<void>;

/** A collection that is strict, or whose store has no versions, protects all its writes by intents. */
export function usesIntents({
  settings,
  store,
}: Pick<CollectionContext<unknown>, 'settings' | 'store'>): boolean {
  return settings.consistency === 'strict' || !store.capabilities.versioned;
}

/** The first step of a write: the cache learns of it before the store is touched. */
export class Preparation<Value> {
  readonly #collection: CollectionContext<Value>;
  readonly #hints: ValueHints | undefined;
  readonly #flushKey: FlushKey | undefined;
  readonly #usesIntents: boolean;
  readonly #strict: boolean;
  /** How long a write on its own may take, from its intent to its commit. */
  readonly #writeMs: number;

  /**
   * @param hints `undefined`: all writes ask the cache
   * @param flushKey where writes may be buffered: brings a key's buffered write into the store
   */
  constructor(
    collection: CollectionContext<Value>,
    hints: ValueHints | undefined,
    flushKey: FlushKey | undefined,
  ) {
    const { kept, settings } = collection;
    this.#collection = collection;
    this.#hints = hints;
    this.#flushKey = flushKey;
    this.#usesIntents = usesIntents(collection);
    this.#strict = settings.consistency === 'strict';
    this.#writeMs = settings.batch.queueTimeoutMs + settings.storeTimeoutMs;
    const longestMs = Math.max(this.#writeMs, DEFAULT_TRANSACTION_TIMEOUT_MS) + INTENT_MARGIN_MS;
    if (this.#strict) kept.intends(longestMs);
  }

  /**
   * Notes the writer in the cache. Where the cache can't be reached a strict writer's rejects with
   * `CacheUnavailableError`, and so does one that reads before it writes where writes may be buffered,
   * since the store may not have what it should read; the others go on without.
   *
   * @param command `undefined`: the caller's own statements
   * @param endsAtMs when the store ends the write's transaction, by the monotonic clock
   */
  prepare(
    key: string,
    command: StoreCommand<Value> | undefined,
    endsAtMs?: number,
  ): Reservation | Promise<Reservation> {
    const { clock, keyPrefix, member } = this.#collection;
    const flushKey = this.#flushKey;
    member?.touch();
    const known = this.#hints?.get(key);
    const rowTags = this.#collection.tags?.rows;
    if (known !== undefined) return rowTags === undefined ? known : { ...known, mark: rowTags.mark() };
    const cacheKey = keyPrefix + key;
    const inside = endsAtMs !== undefined;
    const writeMs = inside ? Math.max(0, endsAtMs - clock.monotonic()) : this.#writeMs;
    // A deletion asks for a row: where it finds none, nothing would stop a buffered write of it.
    const blind = command?.kind === 'put' && command.ifVersion === undefined;
    if (flushKey !== undefined && !blind) {
      // A transaction may hold the very row that its flush waits for.
      const patienceMs = inside ? INSIDE_PATIENCE_MS : undefined;
      return this.#intendFlushed(key, cacheKey, writeMs, (one) => flushKey(one, patienceMs));
    }
    return this.#usesIntents ? this.#announce(cacheKey, writeMs, inside) : this.#reserve(cacheKey);
  }

  async #reserve(cacheKey: string): Promise<Reservation> {
    const { cache, nextToken, settings, tags } = this.#collection;
    const token = nextToken();
    const { holeTtlMs } = settings;
    // In the same turn.
    const asking = tags?.rows?.ask();
    try {
      const reply = await cache.run({ kind: 'reserve', key: cacheKey, token, holeTtlMs });
      const mark = asking && (await asking)?.mark;
      return { above: reply.known, token, intent: false, aheadMs: 0, mark };
    } catch {
      const aheadMs = settings.burst?.maxClockSkewMs ?? 0;
      return { above: NO_VERSION, token: undefined, intent: false, aheadMs };
    }
  }

  /** Notes an intent, which stands for longer than the store lets the write be committed. */
  async #announce(cacheKey: string, writeMs: number, inside: boolean): Promise<Reservation> {
    const { cache, kept, nextToken, store, tags } = this.#collection;
    const asking = tags?.rows?.ask();
    // Before the intent is sent, so that the deadline comes before its end. A transaction has its own.
    const now = inside ? undefined : store.fence?.nowMs();
    const nowMs = typeof now === 'object' ? await now : now;
    const notAfterMs = nowMs === undefined ? undefined : nowMs + writeMs;
    const token = nextToken();
    try {
      const { known, refused } = await cache.run(this.#intend(cacheKey, token, writeMs));
      if (refused !== undefined) throw notNoted(cacheKey, this.#keyOf(cacheKey), refused);
      const mark = asking && (await asking)?.mark;
      if (!this.#strict) return { above: known, token, intent: true, aheadMs: 0, notAfterMs, mark };
      // Asked once the intent stands: a cache that loses others from now on loses this one, too.
      kept.intends(writeMs + INTENT_MARGIN_MS);
      const placeable = kept.allMs(cacheKey).then((ms) => ms > 0);
      return { above: known, token, intent: true, aheadMs: 0, notAfterMs, placeable, mark };
    } catch (error) {
      if (this.#strict) throw this.#ofRow(error, this.#keyOf(cacheKey));
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
    const { cache, nextToken, settings, tags } = this.#collection;
    for (let flushes = 0; flushes < MAX_FLUSHES; flushes++) {
      const token = nextToken();
      try {
        const reply = await cache.run(this.#intend(cacheKey, token, writeMs));
        if (reply.refused !== undefined) throw notNoted(cacheKey, key, reply.refused);
        if (reply.unflushed !== true) {
          return { above: reply.known, token, intent: true, aheadMs: 0, mark: tags?.rows?.mark() };
        }
      } catch (error) {
        // Unanswered, it may stand.
        this.#release(cacheKey, token);
        throw this.#ofRow(error, key);
      }
      await flushKey(key);
    }
    const collection = settings.name;
    throw new StoreOverloadedError(
      `collection "${collection}", key "${key}": its writes are buffered faster than they can be flushed`,
      { collection, key },
    );
  }

  #keyOf(cacheKey: string): string {
    return cacheKey.slice(this.#collection.keyPrefix.length);
  }

  /** The cache's error for many writers at once, as this writer's own. */
  #ofRow(error: unknown, key: string): unknown {
    const { name: collection } = this.#collection.settings;
    return error instanceof Error ? concerning(ofOneRow(error, { collection, key }), { collection }) : error;
  }

  #intend(key: string, token: string, writeMs: number): IntendCommand {
    return {
      kind: 'intend',
      key,
      token,
      deadlineMs: writeMs + INTENT_MARGIN_MS,
      holeTtlMs: this.#collection.settings.holeTtlMs,
    };
  }

  /**
   * After a write that is certain not to have been committed. An uncertain one keeps its intent until
   * its deadline, since it may have been.
   */
  abandon(key: string, { intent, token }: Reservation, error?: unknown): void {
    if (!intent || token === undefined) return;
    if (error === undefined || isCertain(error)) this.#release(this.#collection.keyPrefix + key, token);
  }

  #release(cacheKey: string, token: string): void {
    const { activity, cache } = this.#collection;
    activity.track(cache.release(cacheKey, token));
  }
}

function notNoted(
  cacheKey: string,
  key: string,
  refused: NonNullable<ReserveReply['refused']>,
): CacheUnavailableError {
  if (refused === 'foreign') return foreignEntry(cacheKey, key);
  return new CacheUnavailableError(`too many writers of "${cacheKey}" are under way`, { key });
}

/** True for an error that says that nothing was committed. */
function isCertain(error: unknown): boolean {
  if (error instanceof StoreRefusedError || error instanceof StoreOverloadedError) return true;
  if (error instanceof UnsupportedError) return true;
  return (error as { outcome?: unknown } | null)?.outcome === 'not-committed';
}
