import type {
  StoreCommand,
  StoreDelete,
  StoreIncrement,
  StoreOutcome,
  StorePatch,
  StorePut,
} from '../contracts/store.js';
import type { Version } from '../contracts/version.js';
import { type Amount, haveOneSign, sumOf } from '../kit/decimal.js';
import type { WriteRequest } from './pending-write.js';
import type { Reservation } from './reservation.js';

// Classes, not literals: see `pending-write.ts`.

/** A write of one key as callers ask for it; `above` comes from the reservation. */
export class StoreWrite<Value> implements WriteRequest {
  readonly key: string;
  readonly bytes: number;
  readonly command: StoreCommand<Value>;
  readonly ttlMs: number;

  constructor(command: StoreCommand<Value>, bytes: number, ttlMs: number) {
    this.key = command.key;
    this.bytes = bytes;
    this.command = command;
    this.ttlMs = ttlMs;
  }
}

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

/** One caller's increment. */
export class Increment implements StoreIncrement {
  readonly kind = 'increment';
  readonly key: string;
  readonly field: string;
  readonly by: Amount;
  readonly above: Version;

  constructor(key: string, field: string, by: Amount, above: Version) {
    this.key = key;
    this.field = field;
    this.by = by;
    this.above = above;
  }
}

/** Several callers' increments as one; it grows while it waits. */
class Sum implements StoreIncrement {
  readonly kind = 'increment';
  readonly key: string;
  readonly field: string;
  by: Amount;
  readonly terms: Amount[];
  readonly above: Version;

  constructor({ above, by, field, key }: StoreIncrement) {
    this.key = key;
    this.field = field;
    this.by = by;
    this.terms = Array.of(by);
    this.above = above;
  }
}

/** A write that the store has taken, or whose condition did not hold. */
export type Applied<Value> = Exclude<StoreOutcome<Value>, { kind: 'failed' }>;

/** A write that asks nothing of the row that it replaces. */
export function isBlind<Value>(command: StoreCommand<Value>): command is StorePut<Value> | StoreDelete {
  return (command.kind === 'put' || command.kind === 'delete') && command.ifVersion === undefined;
}

/** The command as its writer's reservation has it stamped. */
export function stamped<Value>(
  command: StoreCommand<Value>,
  { above, aheadMs }: Reservation,
): StoreCommand<Value> {
  if (command.kind === 'flush') return command;
  if (command instanceof BlindPut && aheadMs === 0) return new BlindPut(command.key, command.value, above);
  return aheadMs > 0 && isBlind(command) ? { ...command, above, aheadMs } : { ...command, above };
}

/** Two writes of one key as one: the later blind one, the sum, or both patches. `undefined`: each goes by itself. */
export function merged<Value>(
  earlier: StoreWrite<Value>,
  later: StoreWrite<Value>,
): StoreWrite<Value> | undefined {
  const [first, second] = [earlier.command, later.command];
  if (isBlind(second)) return isBlind(first) ? later : undefined;
  if (first.kind === 'patch' && second.kind === 'patch') {
    const command = bothPatches(first, second);
    return command && new StoreWrite(command, earlier.bytes + later.bytes, later.ttlMs);
  }
  return first.kind === 'increment' && second.kind === 'increment'
    ? summed(earlier, first, later, second)
    : undefined;
}

/** More callers than this don't share a statement. */
const MAX_TERMS = 1_000;

/**
 * Both amounts, as terms of their sum. Of one sign only: what a constraint says of the first and the last value of a
 * range it normally says of those between, too. A sum grows in place, since a copy for each of many callers would cost
 * their square.
 */
function summed<Value>(
  earlier: StoreWrite<Value>,
  first: StoreIncrement,
  later: StoreWrite<Value>,
  second: StoreIncrement,
): StoreWrite<Value> | undefined {
  const grows = first instanceof Sum;
  if (first.field !== second.field || !haveOneSign(first.by, second.by)) return undefined;
  if (grows && first.terms.length >= MAX_TERMS) return undefined;
  const sum = grows ? first : new Sum(first);
  sum.by = sumOf(sum.by, second.by);
  sum.terms.push(second.by);
  return grows && earlier.ttlMs === later.ttlMs ? earlier : new StoreWrite(sum, later.bytes, later.ttlMs);
}

/** Property by property the later one stands. `undefined`: they have conditions, or their order counts. */
function bothPatches<Value>(
  first: StorePatch<Value>,
  second: StorePatch<Value>,
): StorePatch<Value> | undefined {
  const blind = (patch: StorePatch<Value>): boolean =>
    patch.ifVersion === undefined && patch.unset === undefined;
  if (!blind(first) || !blind(second) || isNested(first.set, second.set)) return undefined;
  return { ...second, set: { ...first.set, ...second.set } };
}

/** True when one of them sets a property, and the other something within it. */
function isNested(one: object, other: object): boolean {
  const [paths, others] = [Object.keys(one), Object.keys(other)];
  const within = (inner: string, outer: string): boolean => inner.startsWith(`${outer}.`);
  return paths.some((path) => others.some((each) => within(path, each) || within(each, path)));
}

/** True for a row that the store keeps under another key than it was written with. */
export function isMoved<Value>(key: string, outcome: Extract<Applied<Value>, { kind: 'written' }>): boolean {
  return outcome.key !== undefined && outcome.key !== key;
}
