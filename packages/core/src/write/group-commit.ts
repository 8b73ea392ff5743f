import type { BatchSettings } from '../collection/settings.js';
import type { CacheOutcome } from '../contracts/api.js';
import type { Clock } from '../contracts/clock.js';
import type { StoreAdapter, StoreCommand, StoreOutcome } from '../contracts/store.js';
import {
  type LockstepError,
  StoreContractError,
  StoreOverloadedError,
  StoreRefusedError,
  StoreTimeoutError,
} from '../errors.js';
import { withTimeout } from '../kit/wait.js';
import { asStoreError, checkVersion } from '../read/loader.js';
import { KeyOrder } from './key-order.js';
import { type Linked, LinkedList } from './linked-list.js';
import type { Reservation } from './reservation.js';
import { isJoinable, isMergeable, type Settled, Unit, Waiter } from './unit.js';

/** The cache's part, by key. */
export interface WriteHooks<Value> {
  /** A promise only where the cache has to be asked. */
  prepare(command: StoreCommand<Value>): Reservation | Promise<Reservation>;
  /** Calls `settled` once, with what became of the cache. */
  settle(
    key: string,
    reservation: Reservation,
    outcome: Settled<Value>['outcome'],
    ttlMs: number,
    settled: (cache: CacheOutcome) => void,
  ): void;
  abandon(key: string, reservation: Reservation, error: unknown): void;
}

export interface WriteQueueOptions<Value> {
  readonly collection: string;
  readonly store: StoreAdapter<Value, never>;
  readonly storeTimeoutMs: number;
  readonly batch: BatchSettings;
  readonly clock: Clock;
  readonly hooks: WriteHooks<Value>;
  /**
   * Others may buffer writes of a key between a write's preparation and another that would join it: so a write is
   * prepared when its turn has come, and nothing joins it from then on.
   */
  readonly buffered?: boolean;
  /** Told how long each statement took, in ms. */
  readonly committed?: ((storeMs: number) => void) | undefined;
}

/** Who waits for a place in the queue. */
interface Caller extends Linked<Caller> {
  readonly enter: () => void;
}

/** What the engine's own timer allows beyond the store's. */
const GRACE_MS = 250;

/**
 * Group commit. Writes that arrive while others are under way travel together in one statement; a lone
 * write starts in the same tick. Writes of one key keep their order and never share a statement, except
 * blind ones and increments, which merge while they wait. A refused row fails its own caller only.
 */
export class WriteQueue<Value> {
  readonly #options: WriteQueueOptions<Value>;
  readonly #versioned: boolean;
  /** Each key's units under way or waiting, in their order. */
  readonly #byKey = new KeyOrder<Unit<Value>>();
  /** Units not yet taken, oldest first. */
  readonly #waiting = new LinkedList<Unit<Value>>();
  readonly #ready: Unit<Value>[] = [];
  #inFlight = 0;
  /** When the statements under way started, oldest first. */
  readonly #underWay: number[] = [];
  #scheduled = false;
  #sweeping = false;
  readonly #outside = new LinkedList<Caller>();
  /** How many of a key's writes wait outside, or are on their way in. */
  readonly #outsideOf = new Map<string, number>();

  constructor(options: WriteQueueOptions<Value>) {
    this.#options = options;
    this.#versioned = options.store.capabilities.versioned;
  }

  /** Writes that wait for a statement. */
  get waiting(): number {
    return this.#waiting.size + this.#outside.size;
  }

  /** How long the oldest statement has been under way, in ms; 0: none is. */
  get underWayMs(): number {
    const oldest = this.#underWay[0];
    return oldest === undefined ? 0 : this.#options.clock.monotonic() - oldest;
  }

  /** True while a write of the key waits or is under way. */
  has(key: string): boolean {
    return this.#byKey.last(key) !== undefined;
  }

  /**
   * Resolves once the write is committed and the cache dealt with. Rejects with the store's error, or
   * with `StoreOverloadedError` when it could not start within `queueTimeoutMs`.
   */
  submit(command: StoreCommand<Value>, bytes: number, ttlMs: number): Promise<Settled<Value>> {
    const { maxWaiting } = this.#options.batch;
    const submitted = (): Promise<Settled<Value>> =>
      new Promise((resolve, reject) => this.#enter(new Waiter(command, bytes, ttlMs, resolve, reject)));
    const { key } = command;
    const full = this.#waiting.size >= maxWaiting && this.#joinable(command) === undefined;
    if (!full && !this.#waitsOutside(key)) return submitted();
    return this.#admission(key).then(() => {
      this.#leaveOutside(key);
      return submitted();
    });
  }

  /** A full queue makes callers wait outside, with nothing reserved. */
  async #admission(key: string): Promise<void> {
    const { clock, batch } = this.#options;
    const { promise: place, resolve: enter } = Promise.withResolvers<void>();
    const caller: Caller = { enter, previous: undefined, next: undefined };
    this.#outside.add(caller);
    this.#outsideOf.set(key, (this.#outsideOf.get(key) ?? 0) + 1);
    try {
      await withTimeout(clock, place, batch.queueTimeoutMs, () => this.#overloaded(key));
    } catch (error) {
      this.#outside.delete(caller);
      this.#leaveOutside(key);
      throw error;
    }
  }

  /** A key's writes keep their order: behind one that waits outside the next does, too. */
  #waitsOutside(key: string): boolean {
    return this.#outsideOf.size > 0 && this.#outsideOf.has(key);
  }

  #leaveOutside(key: string): void {
    const left = (this.#outsideOf.get(key) as number) - 1;
    if (left === 0) this.#outsideOf.delete(key);
    else this.#outsideOf.set(key, left);
  }

  #admitNext(): void {
    const caller = this.#outside.first;
    if (caller === undefined) return;
    this.#outside.delete(caller);
    caller.enter();
  }

  /** The key's last unit, if a write can still join it. */
  #joinable(command: StoreCommand<Value>): Unit<Value> | undefined {
    const { batch, buffered } = this.#options;
    const last = this.#byKey.last(command.key);
    return last !== undefined && isJoinable(last, command, batch, buffered) ? last : undefined;
  }

  #enter(waiter: Waiter<Value>): void {
    const { batch, clock } = this.#options;
    const joinable = this.#joinable(waiter.command);
    if (joinable !== undefined) joinable.join(waiter);
    else this.#add(new Unit(waiter, isMergeable(waiter.command, batch.coalesce), clock.monotonic()));
  }

  /** Behind the key's last unit, or right behind another. */
  #add(unit: Unit<Value>, behind?: Unit<Value>): void {
    this.#byKey.add(unit, behind);
    this.#waiting.add(unit);
    this.#sweepLater();
    if (this.#options.buffered && unit.earlier !== undefined) unit.state = 'waiting';
    else this.#prepare(unit);
  }

  #prepare(unit: Unit<Value>): void {
    const preparing = this.#options.hooks.prepare(unit.command);
    if (preparing instanceof Promise) void this.#reserve(unit, preparing);
    else this.#reserved(unit, preparing);
  }

  async #reserve(unit: Unit<Value>, reserving: Promise<Reservation>): Promise<void> {
    try {
      this.#reserved(unit, await reserving);
    } catch (error) {
      if (!this.#isDone(unit)) this.#fail(unit, error as Error);
    }
  }

  #reserved(unit: Unit<Value>, reservation: Reservation): void {
    unit.reservation = reservation;
    if (this.#isDone(unit)) {
      this.#options.hooks.abandon(unit.key, reservation, undefined);
      return;
    }
    unit.state = 'reserved';
    if (unit.earlier === undefined) this.#makeReady(unit);
  }

  /** A unit may have run out of time while it was preparing. */
  #isDone(unit: Unit<Value>): boolean {
    return unit.state === 'done';
  }

  #makeReady(unit: Unit<Value>): void {
    unit.state = 'ready';
    this.#ready.push(unit);
    this.#schedule();
  }

  #schedule(): void {
    if (this.#scheduled || this.#inFlight >= this.#options.batch.maxInFlight) return;
    this.#scheduled = true;
    process.nextTick(this.#start);
  }

  readonly #start = (): void => {
    this.#scheduled = false;
    while (this.#ready.length > 0 && this.#inFlight < this.#options.batch.maxInFlight) {
      const batch = this.#take();
      if (batch.length === 0) return;
      this.#inFlight++;
      void this.#commit(batch).then(() => {
        this.#inFlight--;
        if (this.#ready.length > 0) this.#schedule();
      });
    }
  };

  /** The next batch, within its bounds; its units can't be joined any more. */
  #take(): Unit<Value>[] {
    const { maxBytes, maxRows } = this.#options.batch;
    let bytes = 0;
    let rows = 0;
    let index = 0;
    for (; index < this.#ready.length && rows < maxRows; index++) {
      const unit = this.#ready[index] as Unit<Value>;
      if (unit.state !== 'ready') continue;
      if (rows > 0 && bytes + unit.waiter.bytes > maxBytes) break;
      bytes += unit.waiter.bytes;
      rows++;
      unit.state = 'taken';
      this.#waiting.delete(unit);
      this.#admitNext();
    }
    return this.#ready.splice(0, index).filter((unit) => unit.state === 'taken');
  }

  async #commit(batch: readonly Unit<Value>[]): Promise<void> {
    const { clock, collection, committed, store, storeTimeoutMs } = this.#options;
    const commands = batch.map((unit) => unit.stamped());
    const startedAt = clock.monotonic();
    this.#underWay.push(startedAt);
    const ended = (): number => {
      const place = this.#underWay.indexOf(startedAt);
      if (place >= 0) this.#underWay.splice(place, 1);
      const storeMs = clock.monotonic() - startedAt;
      committed?.(storeMs);
      return storeMs;
    };
    try {
      const outcomes = await withTimeout(
        clock,
        store.write(commands, { timeoutMs: storeTimeoutMs, notAfterMs: earliestDeadline(batch) }),
        storeTimeoutMs + GRACE_MS,
        () =>
          new StoreTimeoutError(`collection "${collection}": no answer within ${storeTimeoutMs} ms`, {
            collection,
          }),
      );
      const storeMs = ended();
      for (let i = 0; i < batch.length; i++) this.#arrived(batch[i] as Unit<Value>, outcomes[i], storeMs);
    } catch (error) {
      ended();
      const cause = asStoreError(error, collection, 'unknown');
      for (const unit of batch) this.#fail(unit, cause);
    }
  }

  #arrived(unit: Unit<Value>, outcome: StoreOutcome<Value> | undefined, storeMs: number): void {
    const { collection, store } = this.#options;
    if (outcome === undefined) {
      this.#fail(unit, new StoreContractError(`${store.name}: a write without an outcome`, { collection }));
    } else if (outcome.kind === 'failed') {
      this.#refused(unit, outcome.error);
    } else {
      this.#settle(unit, outcome, storeMs);
    }
  }

  #settle(unit: Unit<Value>, outcome: Settled<Value>['outcome'], storeMs: number): void {
    const { clock, hooks, store } = this.#options;
    const { key, waiter } = unit;
    const startedAt = clock.monotonic();
    try {
      if (outcome.kind === 'written' && this.#versioned) {
        const problem = checkVersion(outcome.version, key, store);
        if (problem !== undefined) throw problem;
      }
      hooks.settle(key, unit.reservation as Reservation, outcome, waiter.ttlMs, (cache) => {
        unit.resolve(outcome, cache, storeMs, clock.monotonic() - startedAt);
      });
    } catch (error) {
      unit.reject(error as Error);
    }
    // The key's next unit may start now: its cache commands travel behind this one's.
    this.#end(unit);
  }

  /** A merged write that was refused fails its own caller only: the others go again without it, before the key's next. */
  #refused(unit: Unit<Value>, error: LockstepError): void {
    if (!(error instanceof StoreRefusedError) || unit.merged.length === 0) {
      this.#fail(unit, error);
      return;
    }
    this.#options.hooks.abandon(unit.key, unit.reservation as Reservation, error);
    if (unit.command.kind === 'increment') {
      const waiters = [...unit.merged, unit.waiter];
      const middle = waiters.length >> 1;
      const first = this.#again(waiters.slice(0, middle));
      this.#add(first, unit);
      this.#add(this.#again(waiters.slice(middle)), first);
    } else {
      unit.waiter.reject(error);
      this.#add(this.#again(unit.merged), unit);
    }
    this.#end(unit);
  }

  /** Writes that were merged before, without the others; nothing joins them any more. */
  #again([first, ...others]: readonly Waiter<Value>[]): Unit<Value> {
    const unit = new Unit(first as Waiter<Value>, false, this.#options.clock.monotonic());
    for (const waiter of others) unit.join(waiter);
    return unit;
  }

  #fail(unit: Unit<Value>, error: Error): void {
    if (unit.reservation !== undefined) this.#options.hooks.abandon(unit.key, unit.reservation, error);
    this.#end(unit);
    unit.reject(error);
  }

  /** Takes the unit out of its key's order, and lets the next one go. */
  #end(unit: Unit<Value>): void {
    if (unit.state === 'done') return;
    unit.state = 'done';
    if (this.#waiting.delete(unit)) this.#admitNext();
    const first = this.#byKey.delete(unit);
    if (first === undefined) return;
    if (first.state === 'reserved') this.#makeReady(first);
    else if (first.state === 'waiting') {
      first.state = 'preparing';
      this.#prepare(first);
    }
  }

  /** One timer for all: units wait in the order in which they came. */
  #sweepLater(): void {
    if (this.#sweeping) return;
    const oldest = this.#waiting.first;
    if (oldest === undefined) return;
    this.#sweeping = true;
    const { batch, clock } = this.#options;
    const remainingMs = oldest.createdAtMs + batch.queueTimeoutMs - clock.monotonic();
    clock.schedule(this.#sweep, Math.max(1, remainingMs));
  }

  readonly #sweep = (): void => {
    this.#sweeping = false;
    const { batch, clock } = this.#options;
    const limit = clock.monotonic() - batch.queueTimeoutMs;
    let oldest = this.#waiting.first;
    while (oldest !== undefined && oldest.createdAtMs <= limit) {
      this.#fail(oldest, this.#overloaded(oldest.key));
      oldest = this.#waiting.first;
    }
    this.#sweepLater();
  };

  #overloaded(key: string): StoreOverloadedError {
    const { batch, collection } = this.#options;
    return new StoreOverloadedError(
      `collection "${collection}": a write waited longer than ${batch.queueTimeoutMs} ms for its turn (batch.queueTimeoutMs)`,
      { collection, key },
    );
  }
}

/** What all of a batch can keep to. Each is further away than the batch may take: it counts from the preparation. */
function earliestDeadline(batch: readonly Pick<Unit<never>, 'reservation'>[]): number | undefined {
  let earliest: number | undefined;
  for (const { reservation } of batch) {
    const notAfterMs = reservation?.notAfterMs;
    if (notAfterMs !== undefined && (earliest === undefined || notAfterMs < earliest)) earliest = notAfterMs;
  }
  return earliest;
}
