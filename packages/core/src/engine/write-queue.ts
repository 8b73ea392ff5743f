import type { CacheOutcome } from '../contracts/api.js';
import type { Clock } from '../contracts/clock.js';
import type { StoreAdapter, StoreCommand, StoreDelete, StoreOutcome, StorePut } from '../contracts/store.js';
import {
  type LockstepError,
  StoreContractError,
  StoreOverloadedError,
  StoreRefusedError,
  StoreTimeoutError,
} from '../errors.js';
import { withTimeout } from './bounded.js';
import type { Reservation } from './cache-side.js';
import { KeyTable } from './key-table.js';
import { type Linked, LinkedList } from './linked-list.js';
import { asStoreError, checkVersion } from './loader.js';
import type { BatchSettings } from './settings.js';

/** A committed (or conditional and not applied) write, and what became of the cache. */
export interface Settled<Value> {
  readonly outcome: Exclude<StoreOutcome<Value>, { kind: 'failed' }>;
  readonly cache: CacheOutcome;
  readonly store: 'committed' | 'buffered';
  readonly coalesced: boolean;
  readonly storeMs: number;
  readonly cacheMs: number;
}

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

/** A write on its way, and its caller. Its `above` comes from the reservation. */
interface Waiter<Value> {
  readonly command: StoreCommand<Value>;
  readonly bytes: number;
  readonly ttlMs: number;
  resolve(settled: Settled<Value>): void;
  reject(error: Error): void;
}

/** One command for the store, on behalf of one caller, or of several whose writes were merged. */
interface Unit<Value> extends Linked<Unit<Value>> {
  readonly key: string;
  readonly waiters: Waiter<Value>[];
  readonly joinable: boolean;
  readonly createdAtMs: number;
  command: StoreCommand<Value>;
  bytes: number;
  reservation: Reservation | undefined;
  /** `waiting`, `reserved`: for the key's earlier units, before or after its preparation; `ready`: for a place in a batch. */
  state: 'waiting' | 'preparing' | 'reserved' | 'ready' | 'taken' | 'done';
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
  readonly #byKey = new KeyTable<Unit<Value>[]>();
  /** Units not yet taken, oldest first. */
  readonly #waiting = new LinkedList<Unit<Value>>();
  #ready: Unit<Value>[] = [];
  #inFlight = 0;
  /** The statements under way, oldest first. */
  readonly #underWay: { readonly startedAt: number }[] = [];
  #scheduled = false;
  #sweeping = false;
  readonly #outside: (() => void)[] = [];

  constructor(options: WriteQueueOptions<Value>) {
    this.#options = options;
    this.#versioned = options.store.capabilities.versioned;
  }

  /** Writes that wait for a statement. */
  get waiting(): number {
    return this.#waiting.size + this.#outside.length;
  }

  /** How long the oldest statement has been under way, in ms; 0: none is. */
  get underWayMs(): number {
    const oldest = this.#underWay[0];
    return oldest === undefined ? 0 : this.#options.clock.monotonic() - oldest.startedAt;
  }

  /** True while a write of the key waits or is under way. */
  has(key: string): boolean {
    return this.#byKey.get(key) !== undefined;
  }

  /**
   * Resolves once the write is committed and the cache dealt with. Rejects with the store's error, or
   * with `StoreOverloadedError` when it could not start within `queueTimeoutMs`.
   */
  submit(command: StoreCommand<Value>, bytes: number, ttlMs: number): Promise<Settled<Value>> {
    const { maxWaiting } = this.#options.batch;
    const submitted = (): Promise<Settled<Value>> =>
      new Promise((resolve, reject) => this.#enter({ command, bytes, ttlMs, resolve, reject }));
    const full = this.#waiting.size >= maxWaiting && !this.#canJoin(command);
    return full ? this.#admission(command.key).then(submitted) : submitted();
  }

  /** A full queue makes callers wait outside, with nothing reserved. */
  async #admission(key: string): Promise<void> {
    const { clock, batch } = this.#options;
    let enter: () => void = () => undefined;
    const place = new Promise<void>((resolve) => {
      enter = resolve;
      this.#outside.push(resolve);
    });
    try {
      await withTimeout(clock, place, batch.queueTimeoutMs, () => this.#overloaded(key));
    } catch (error) {
      const index = this.#outside.indexOf(enter);
      if (index >= 0) this.#outside.splice(index, 1);
      throw error;
    }
  }

  #canJoin(command: StoreCommand<Value>): boolean {
    const tail = this.#byKey.get(command.key)?.at(-1);
    return tail !== undefined && isJoinable(tail, command, this.#options.batch, this.#options.buffered);
  }

  #enter(waiter: Waiter<Value>): void {
    const { command, bytes } = waiter;
    const tail = this.#byKey.get(command.key)?.at(-1);
    if (tail !== undefined && isJoinable(tail, command, this.#options.batch, this.#options.buffered)) {
      tail.command = merged(tail.command, command);
      tail.bytes = bytes;
      tail.waiters.push(waiter);
      return;
    }
    this.#add([waiter], command, isMergeable(command, this.#options.batch.coalesce));
  }

  /** A new unit: behind the key's last one, or at this place among them. */
  #add(waiters: Waiter<Value>[], command: StoreCommand<Value>, joinable: boolean, place?: number): void {
    const unit: Unit<Value> = {
      key: command.key,
      waiters,
      joinable,
      createdAtMs: this.#options.clock.monotonic(),
      command,
      bytes: waiters[waiters.length - 1]?.bytes ?? 0,
      reservation: undefined,
      state: 'preparing',
      previous: undefined,
      next: undefined,
    };
    const units = this.#byKey.get(command.key);
    if (this.#options.buffered && units !== undefined) unit.state = 'waiting';
    if (units === undefined) this.#byKey.set(command.key, [unit]);
    else units.splice(place ?? units.length, 0, unit);
    this.#waiting.add(unit);
    this.#sweepLater();
    if (unit.state === 'preparing') this.#prepare(unit);
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
    if (this.#byKey.get(unit.key)?.[0] === unit) this.#makeReady(unit);
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
    const batch: Unit<Value>[] = [];
    let bytes = 0;
    let index = 0;
    for (; index < this.#ready.length && batch.length < maxRows; index++) {
      const unit = this.#ready[index] as Unit<Value>;
      if (unit.state !== 'ready') continue;
      if (batch.length > 0 && bytes + unit.bytes > maxBytes) break;
      bytes += unit.bytes;
      unit.state = 'taken';
      this.#waiting.delete(unit);
      this.#outside.shift()?.();
      batch.push(unit);
    }
    this.#ready = index === this.#ready.length ? [] : this.#ready.slice(index);
    return batch;
  }

  async #commit(batch: readonly Unit<Value>[]): Promise<void> {
    const { clock, collection, committed, store, storeTimeoutMs } = this.#options;
    const commands = batch.map(stamped);
    const statement = { startedAt: clock.monotonic() };
    this.#underWay.push(statement);
    const ended = (): number => {
      this.#underWay.splice(this.#underWay.indexOf(statement), 1);
      const storeMs = clock.monotonic() - statement.startedAt;
      committed?.(storeMs);
      return storeMs;
    };
    try {
      const outcomes = await withTimeout(
        clock,
        store.write(commands, { timeoutMs: storeTimeoutMs }),
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
    const { key, waiters } = unit;
    const startedAt = clock.monotonic();
    const last = waiters.length - 1;
    try {
      if (outcome.kind === 'written' && this.#versioned) {
        const problem = checkVersion(outcome.version, key, store);
        if (problem !== undefined) throw problem;
      }
      hooks.settle(key, unit.reservation as Reservation, outcome, waiters[last]?.ttlMs ?? 0, (cache) => {
        const cacheMs = clock.monotonic() - startedAt;
        const additive = unit.command.kind === 'increment';
        for (let i = 0; i <= last; i++) {
          const coalesced = i < last && !additive;
          waiters[i]?.resolve({ outcome, cache, store: 'committed', coalesced, storeMs, cacheMs });
        }
      });
    } catch (error) {
      for (const waiter of waiters) waiter.reject(error as Error);
    }
    // The key's next unit may start now: its cache commands travel behind this one's.
    this.#end(unit);
  }

  /** A merged write that was refused fails its own caller only: the others go again without it, before the key's next. */
  #refused(unit: Unit<Value>, error: LockstepError): void {
    if (!(error instanceof StoreRefusedError) || unit.waiters.length === 1) {
      this.#fail(unit, error);
      return;
    }
    this.#options.hooks.abandon(unit.key, unit.reservation as Reservation, error);
    if (unit.command.kind === 'increment') {
      const middle = unit.waiters.length >> 1;
      [unit.waiters.slice(0, middle), unit.waiters.slice(middle)].forEach((half, i) => {
        this.#add(half, half.map((waiter) => waiter.command).reduce(merged), false, i + 1);
      });
    } else {
      unit.waiters.pop()?.reject(error);
      const rest = unit.waiters[unit.waiters.length - 1] as Waiter<Value>;
      this.#add(unit.waiters, rest.command, false, 1);
    }
    this.#end(unit);
  }

  #fail(unit: Unit<Value>, error: Error): void {
    if (unit.reservation !== undefined) this.#options.hooks.abandon(unit.key, unit.reservation, error);
    this.#end(unit);
    for (const waiter of unit.waiters) waiter.reject(error);
  }

  /** Takes the unit out of its key's order, and lets the next one go. */
  #end(unit: Unit<Value>): void {
    if (unit.state === 'done') return;
    unit.state = 'done';
    if (this.#waiting.delete(unit)) this.#outside.shift()?.();
    const units = this.#byKey.get(unit.key) as Unit<Value>[];
    if (units.length === 1) {
      this.#byKey.delete(unit.key);
      return;
    }
    units.splice(units.indexOf(unit), 1);
    const head = units[0] as Unit<Value>;
    if (head.state === 'reserved') this.#makeReady(head);
    else if (head.state === 'waiting') {
      head.state = 'preparing';
      this.#prepare(head);
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

function stamped<Value>(unit: Unit<Value>): StoreCommand<Value> {
  const { command, reservation } = unit;
  return command.kind === 'flush' || reservation === undefined ? command : reserved(command, reservation);
}

/** The command as its writer's reservation has it stamped. */
export function reserved<Value>(
  command: Exclude<StoreCommand<Value>, { kind: 'flush' }>,
  { above, aheadMs }: Reservation,
): StoreCommand<Value> {
  return aheadMs > 0 && isBlind(command) ? { ...command, above, aheadMs } : { ...command, above };
}

/** A write that asks nothing of the row that it replaces. */
export function isBlind<Value>(command: StoreCommand<Value>): command is StorePut<Value> | StoreDelete {
  return (command.kind === 'put' || command.kind === 'delete') && command.ifVersion === undefined;
}

function isMergeable(command: StoreCommand<unknown>, coalesce: boolean): boolean {
  return coalesce && (isBlind(command) || command.kind === 'increment');
}

function isJoinable<Value>(
  unit: Unit<Value>,
  command: StoreCommand<Value>,
  { coalesce }: BatchSettings,
  buffered: boolean | undefined,
): boolean {
  if (!unit.joinable || unit.state === 'taken' || unit.state === 'done' || !coalesce) return false;
  if (buffered && unit.state !== 'waiting') return false;
  if (isBlind(command)) return isBlind(unit.command);
  return (
    command.kind === 'increment' && unit.command.kind === 'increment' && unit.command.field === command.field
  );
}

/** Two writes of one key as one: the later blind one, or the sum. */
function merged<Value>(earlier: StoreCommand<Value>, later: StoreCommand<Value>): StoreCommand<Value> {
  if (earlier.kind === 'increment' && later.kind === 'increment') {
    return { ...later, by: earlier.by + later.by };
  }
  return later;
}
