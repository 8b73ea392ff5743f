import type { StoreCommand, StoreDelete, StoreOutcome, StorePut } from '../contracts/store.js';
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

/** Two writes of one key as one: the later blind one, or the sum. `undefined`: each goes by itself. */
export function merged<Value>(
  earlier: StoreWrite<Value>,
  later: StoreWrite<Value>,
): StoreWrite<Value> | undefined {
  const [first, second] = [earlier.command, later.command];
  if (isBlind(second)) return isBlind(first) ? later : undefined;
  if (first.kind !== 'increment' || second.kind !== 'increment' || first.field !== second.field) {
    return undefined;
  }
  return { ...later, command: { ...second, by: first.by + second.by } };
}

type Moved<Value> = Extract<Applied<Value>, { kind: 'written' }> & { readonly key: string };

/** True for a row that the store keeps under another key than it was written with. */
export function isMoved<Value>(key: string, outcome: Applied<Value>): outcome is Moved<Value> {
  return outcome.kind === 'written' && outcome.key !== undefined && outcome.key !== key;
}
