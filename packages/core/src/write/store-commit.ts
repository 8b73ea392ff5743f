import type { CollectionContext } from '../collection/context.js';
import { withinStoreTime } from '../collection/store-time.js';
import type { CacheOutcome } from '../contracts/api.js';
import type { StoreCommand, StoreOutcome } from '../contracts/store.js';
import { NO_VERSION, type Version } from '../contracts/version.js';
import { StoreContractError } from '../errors.js';
import { concerning, ofOneRow } from '../kit/concerning.js';
import { asStoreError, checkVersion } from '../read/loader.js';
import { copyOf } from '../values/copy.js';
import { type Applied, merged, type StoreWrite, stamped } from './commands.js';
import { GroupCommit } from './group-commit.js';
import type { PendingWrite } from './pending-write.js';
import type { Preparation } from './prepare.js';
import type { Publication } from './publish.js';
import { NOTHING, type Reservation } from './reservation.js';

/** A write's answer to its callers: the outcome in the store and in the cache. */
export interface Answer<Value> {
  readonly outcome: Applied<Value>;
  readonly cache: CacheOutcome | 'pending';
  readonly store: 'committed' | 'buffered' | 'pending';
  readonly coalesced: boolean;
  readonly storeMs: number;
  readonly cacheMs: number;
}

/** A class, not a literal: see `pending-write.ts`. */
class Committed<Value> implements Answer<Value> {
  readonly outcome: Applied<Value>;
  readonly cache: CacheOutcome;
  readonly store = 'committed';
  readonly coalesced: boolean;
  readonly storeMs: number;
  readonly cacheMs: number;

  constructor(
    outcome: Applied<Value>,
    cache: CacheOutcome,
    coalesced: boolean,
    storeMs: number,
    cacheMs: number,
  ) {
    this.outcome = outcome;
    this.cache = cache;
    this.coalesced = coalesced;
    this.storeMs = storeMs;
    this.cacheMs = cacheMs;
  }
}

/** The cache's part in a write: before the store, and after it. */
export interface CacheSteps<Value> {
  readonly preparation: Preparation<Value>;
  readonly publication: Publication<Value>;
}

export interface StoreCommitOptions<Value> {
  /** Absent: nothing is prepared, and the cache is the caller's to deal with. */
  readonly cache?: CacheSteps<Value>;
  /** Told how long each statement took, in ms. */
  readonly committed?: ((storeMs: number) => void) | undefined;
  readonly preparesInTurn?: boolean;
}

type Write<Value> = PendingWrite<StoreWrite<Value>, Answer<Value>, Reservation>;

/** Batches become statements of the store; the cache is brought in step behind each write's commit. */
export class StoreCommit<Value> extends GroupCommit<StoreWrite<Value>, Answer<Value>, Reservation> {
  readonly #collection: CollectionContext<Value>;
  readonly #options: StoreCommitOptions<Value>;
  /** When the statements under way started, oldest first. */
  readonly #underWay: number[] = [];

  constructor(collection: CollectionContext<Value>, options: StoreCommitOptions<Value>) {
    const { clock, settings } = collection;
    super({ ...options, collection: settings.name, clock, bounds: settings.batch });
    this.#collection = collection;
    this.#options = options;
  }

  /** How long the oldest statement has been under way, in ms; 0: none is. */
  get underWayMs(): number {
    const oldest = this.#underWay[0];
    return oldest === undefined ? 0 : this.#collection.clock.monotonic() - oldest;
  }

  protected override merged(
    earlier: StoreWrite<Value>,
    later: StoreWrite<Value>,
  ): StoreWrite<Value> | undefined {
    const { settings, store } = this.#collection;
    if (!settings.batch.coalesce) return undefined;
    return later.command.kind === 'increment' && store.capabilities.sums !== true
      ? undefined
      : merged(earlier, later);
  }

  protected override prepare({ command, key }: StoreWrite<Value>): Reservation | Promise<Reservation> {
    return this.#options.cache?.preparation.prepare(key, command) ?? NOTHING;
  }

  protected override abandon(key: string, reservation: Reservation, error: unknown): void {
    this.#options.cache?.preparation.abandon(key, reservation, error);
  }

  protected override async commit(batch: readonly Write<Value>[]): Promise<void> {
    const { clock, settings, store } = this.#collection;
    const { name: collection, storeTimeoutMs } = settings;
    const commands: StoreCommand<Value>[] = [];
    // The earliest deadline holds for all. Each is further away than the batch may take: it counts from the preparation.
    let notAfterMs: number | undefined;
    for (const { prepared = NOTHING, request } of batch) {
      commands.push(stamped(request.command, prepared));
      if ((prepared.notAfterMs ?? Infinity) < (notAfterMs ?? Infinity)) notAfterMs = prepared.notAfterMs;
    }
    const startedAt = clock.monotonic();
    this.#underWay.push(startedAt);
    try {
      const outcomes = await withinStoreTime(
        this.#collection,
        store.write(commands, { timeoutMs: storeTimeoutMs, notAfterMs }),
      );
      const arrivedAt = this.#ended(startedAt);
      const storeMs = arrivedAt - startedAt;
      for (let i = 0; i < batch.length; i++) {
        this.#arrived(batch[i] as Write<Value>, outcomes[i], storeMs, arrivedAt);
      }
    } catch (error) {
      this.#ended(startedAt);
      const cause = asStoreError(error, collection, 'unknown');
      const own = batch.length === 1 ? concerning : ofOneRow;
      for (const write of batch) this.fail(write, own(cause, { collection, key: write.key }));
    }
  }

  /** Returns the present time. */
  #ended(startedAt: number): number {
    const place = this.#underWay.indexOf(startedAt);
    if (place >= 0) this.#underWay.splice(place, 1);
    const nowMs = this.#collection.clock.monotonic();
    this.#options.committed?.(nowMs - startedAt);
    return nowMs;
  }

  #arrived(
    write: Write<Value>,
    outcome: StoreOutcome<Value> | undefined,
    storeMs: number,
    arrivedAt: number,
  ): void {
    const { settings, store } = this.#collection;
    if (outcome === undefined) {
      this.fail(
        write,
        new StoreContractError(`${store.name}: a write without an outcome`, { collection: settings.name }),
      );
    } else if (outcome.kind === 'failed') {
      const { name: collection } = settings;
      this.refuse(write, ofOneRow(outcome.error, { collection, key: write.key }));
    } else {
      this.#publish(write, outcome, storeMs, arrivedAt);
      // The key's next write may start now: its cache commands travel behind this one's.
      this.end(write);
    }
  }

  /** Each caller is answered once the cache was dealt with. Batches have one clock reading before it, and one behind. */
  #publish(write: Write<Value>, outcome: Applied<Value>, storeMs: number, arrivedAt: number): void {
    const { cache } = this.#options;
    const { store } = this.#collection;
    const { key, prepared, request } = write;
    const published = (cacheOutcome: CacheOutcome, nowMs = this.#collection.clock.monotonic()): void =>
      this.#published(write, new Committed(outcome, cacheOutcome, false, storeMs, nowMs - arrivedAt));
    try {
      if (outcome.kind === 'written' && store.capabilities.versioned) {
        const problem = checkVersion(outcome.version, key, store);
        if (problem !== undefined) throw problem;
      }
      if (cache === undefined) published('updated');
      else cache.publication.publish(request, prepared as Reservation, outcome, published);
    } catch (error) {
      this.reject(write, error as Error);
    }
  }

  #published(write: Write<Value>, last: Committed<Value>): void {
    const { cache, cacheMs, outcome, storeMs } = last;
    // Flushes, which bring no cache in step, were counted when they were buffered.
    if (this.#options.cache !== undefined && outcome.kind === 'written')
      this.#collection.tally.writes[cache]++;
    if (write.callers.length === 1) {
      this.answer(write, last);
      return;
    }
    const { command } = write.request;
    const coalesced = command.kind !== 'patch';
    this.answer(write, last, (place) => {
      const own =
        command.kind === 'increment' ? stepOutcome(outcome, command.field, place) : ownOutcome(outcome);
      return new Committed(own, cache, coalesced, storeMs, cacheMs);
    });
  }
}

/** A written row that is one caller's own. */
class Own<Value> {
  readonly kind = 'written';
  readonly key: string | undefined;
  readonly value: Value | null;
  readonly version: Version;

  constructor(key: string | undefined, value: Value | null, version: Version) {
    this.key = key;
    this.value = value;
    this.version = version;
  }
}

/** With a value that is one caller's own. */
function ownOutcome<Value>(outcome: Applied<Value>): Applied<Value> {
  return outcome.kind === 'written' ? new Own(outcome.key, copyOf(outcome.value), outcome.version) : outcome;
}

/**
 * The outcome of an increment that is part of a sum: its own value, which no reader finds in the row; so its version is
 * one that no row of the key ever has, between the one before the sum and the sum's own.
 */
function stepOutcome<Value>(outcome: Applied<Value>, field: string, place: number): Applied<Value> {
  if (outcome.kind !== 'written') return outcome;
  const { key, steps = [], version } = outcome;
  const value = copyOf(outcome.value);
  // A row that was incremented has the field.
  if (place < steps.length) (value as Record<string, unknown>)[field] = steps[place];
  return new Own(key, value, Math.max(NO_VERSION, version - 1));
}
