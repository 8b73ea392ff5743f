import type { BatchSettings } from '../collection/settings.js';
import type { CacheOutcome } from '../contracts/api.js';
import type { StoreCommand, StoreDelete, StoreOutcome, StorePut } from '../contracts/store.js';
import type { Version } from '../contracts/version.js';
import type { Linked } from './linked-list.js';
import type { Reservation } from './reservation.js';

/** A committed (or conditional and not applied) write, and what became of the cache. */
export interface Settled<Value> {
  readonly outcome: Exclude<StoreOutcome<Value>, { kind: 'failed' }>;
  readonly cache: CacheOutcome | 'pending';
  readonly store: 'committed' | 'buffered' | 'pending';
  readonly coalesced: boolean;
  readonly storeMs: number;
  readonly cacheMs: number;
}

// What every write makes is of a class, not a literal, and in no literal array: V8 puts what a literal makes
// among the old objects from the start, once many of them were seen to live long (as in a burst), and all that
// is stored into it with it; there they keep young objects alive until the next full collection.

/** A put that asks nothing of the row that it replaces. */
export class BlindPut<Value> implements StorePut<Value> {
  readonly kind = 'put';
  readonly key: string;
  readonly value: Value;
  readonly above: Version;

  constructor(key: string, value: Value, above: Version) {
    this.key = key;
    this.value = value;
    this.above = above;
  }
}

/** A write on its way, and its caller. Its `above` comes from the reservation. */
export class Waiter<Value> {
  readonly command: StoreCommand<Value>;
  readonly bytes: number;
  readonly ttlMs: number;
  readonly resolve: (settled: Settled<Value>) => void;
  readonly reject: (error: Error) => void;

  constructor(
    command: StoreCommand<Value>,
    bytes: number,
    ttlMs: number,
    resolve: (settled: Settled<Value>) => void,
    reject: (error: Error) => void,
  ) {
    this.command = command;
    this.bytes = bytes;
    this.ttlMs = ttlMs;
    this.resolve = resolve;
    this.reject = reject;
  }
}

/** One command for the store, on behalf of one caller, or of several whose writes were merged. */
export class Unit<Value> implements Linked<Unit<Value>> {
  readonly key: string;
  readonly joinable: boolean;
  readonly createdAtMs: number;
  command: StoreCommand<Value>;
  /** The last one that joined. */
  waiter: Waiter<Value>;
  /** Those before it, in their order. */
  merged: readonly Waiter<Value>[] = NONE;
  reservation: Reservation | undefined = undefined;
  /** `waiting`, `reserved`: for the key's earlier units, before or after its preparation; `ready`: for a place in a batch. */
  state: 'waiting' | 'preparing' | 'reserved' | 'ready' | 'taken' | 'done' = 'preparing';
  /** Its neighbours among all that wait. */
  previous: Unit<Value> | undefined = undefined;
  next: Unit<Value> | undefined = undefined;
  /** Its neighbours among the key's own. */
  earlier: Unit<Value> | undefined = undefined;
  later: Unit<Value> | undefined = undefined;

  constructor(waiter: Waiter<Value>, joinable: boolean, createdAtMs: number) {
    this.key = waiter.command.key;
    this.joinable = joinable;
    this.createdAtMs = createdAtMs;
    this.command = waiter.command;
    this.waiter = waiter;
  }

  /** The command as the reservation has it stamped. */
  stamped(): StoreCommand<Value> {
    const { command, reservation } = this;
    return command.kind === 'flush' || reservation === undefined ? command : reserved(command, reservation);
  }

  join(waiter: Waiter<Value>): void {
    if (this.merged.length === 0) this.merged = [this.waiter];
    else (this.merged as Waiter<Value>[]).push(this.waiter);
    this.waiter = waiter;
    this.command = merged(this.command, waiter.command);
  }

  resolve(outcome: Settled<Value>['outcome'], cache: CacheOutcome, storeMs: number, cacheMs: number): void {
    const settled = { outcome, cache, store: 'committed', coalesced: false, storeMs, cacheMs } as const;
    const coalesced = this.command.kind !== 'increment';
    for (const waiter of this.merged) waiter.resolve({ ...settled, coalesced });
    this.waiter.resolve(settled);
  }

  reject(error: Error): void {
    for (const waiter of this.merged) waiter.reject(error);
    this.waiter.reject(error);
  }
}

const NONE: readonly never[] = [];

/** The command as its writer's reservation has it stamped. */
export function reserved<Value>(
  command: Exclude<StoreCommand<Value>, { kind: 'flush' }>,
  { above, aheadMs }: Reservation,
): StoreCommand<Value> {
  if (command instanceof BlindPut && aheadMs === 0) return new BlindPut(command.key, command.value, above);
  return aheadMs > 0 && isBlind(command) ? { ...command, above, aheadMs } : { ...command, above };
}

/** A write that asks nothing of the row that it replaces. */
export function isBlind<Value>(command: StoreCommand<Value>): command is StorePut<Value> | StoreDelete {
  return (command.kind === 'put' || command.kind === 'delete') && command.ifVersion === undefined;
}

export function isMergeable(command: StoreCommand<unknown>, coalesce: boolean): boolean {
  return coalesce && (isBlind(command) || command.kind === 'increment');
}

export function isJoinable<Value>(
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
export function merged<Value>(earlier: StoreCommand<Value>, later: StoreCommand<Value>): StoreCommand<Value> {
  if (earlier.kind === 'increment' && later.kind === 'increment') {
    return { ...later, by: earlier.by + later.by };
  }
  return later;
}
