import type {
  StoreCommand,
  StoreDelete,
  StoreIncrement,
  StoreOutcome,
  StorePatch,
  StorePut,
} from '../contracts/store.js';
import { type Amount, decimalOf, decimalText, plus } from '../kit/decimal.js';
import type { WriteRequest } from './pending-write.js';
import type { Reservation } from './reservation.js';

/** A write of one key as callers ask for it; `above` comes from the reservation. */
export interface StoreWrite<Value> extends WriteRequest {
  readonly command: StoreCommand<Value>;
  readonly ttlMs: number;
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
    return command && { ...later, bytes: earlier.bytes + later.bytes, command };
  }
  if (first.kind !== 'increment' || second.kind !== 'increment') return undefined;
  const command = sumOf(first, second);
  return command && { ...later, command };
}

/** More callers than this don't share a statement. */
const MAX_TERMS = 1_000;

/**
 * Both amounts, as terms of their sum. Of one sign only: what a constraint says of the first and the last value of a
 * range it normally says of those between, too. The terms of a sum are its own: the list grows in place, since a copy for
 * each of many callers would cost their square.
 */
function sumOf(first: StoreIncrement, second: StoreIncrement): StoreIncrement | undefined {
  const [one, other] = [decimalOf(first.by), decimalOf(second.by)];
  const terms = (first.terms ?? [first.by]) as Amount[];
  if (one === undefined || other === undefined || first.field !== second.field) return undefined;
  if (one.units * other.units < 0n || terms.length >= MAX_TERMS) return undefined;
  for (const term of second.terms ?? [second.by]) terms.push(term);
  const sum = plus(one, other);
  const by =
    sum.scale === 0 && Number.isSafeInteger(Number(sum.units)) ? Number(sum.units) : decimalText(sum);
  return { ...second, by, terms };
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
