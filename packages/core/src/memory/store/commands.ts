import type {
  StoreCommand,
  StoreFlush,
  StoreIncrement,
  StoreOutcome,
  StorePut,
} from '../../contracts/store.js';
import { isBelievable, NO_VERSION, type Version } from '../../contracts/version.js';
import { type LockstepError, messageOf, StoreRefusedError } from '../../errors.js';
import type { RowState } from './table.js';

/** A key after a command; `next` is absent when the command wrote nothing. */
export interface Applied {
  readonly outcome: StoreOutcome<unknown>;
  readonly next?: RowState;
}

/** Throws to refuse a value, as a constraint of a database would. */
export type ValidateRow = (value: unknown, key: string) => void;

/** The store's next version: even, above the old one and the writer's bound if that is believed, and not behind the clock. */
export function stamp(old: Version, above: Version, nowMs: number): Version {
  const clock = Math.floor(nowMs * 500) * 2;
  return Math.max(clock, nextEven(old), isBelievable(above, nowMs) ? nextEven(above) : NO_VERSION);
}

function nextEven(version: Version): Version {
  return version + (version % 2 === 0 ? 2 : 1);
}

/** Applies a command to what is at its key. Pure but for `validate`. */
export function applyStoreCommand(
  state: RowState | undefined,
  command: StoreCommand<unknown>,
  nowMs: number,
  validate: ValidateRow,
): Applied {
  try {
    switch (command.kind) {
      case 'put':
        return applyPut(state, command, nowMs, validate);
      case 'increment':
        return applyIncrement(state, command, nowMs, validate);
      case 'flush':
        return applyFlush(state, command, nowMs, validate);
      case 'delete':
      case 'restamp': {
        if (state?.value === undefined) return { outcome: { kind: 'missing' } };
        if (command.ifVersion !== undefined && command.ifVersion !== state.version) {
          return { outcome: { kind: 'conflict', version: state.version } };
        }
        const value = command.kind === 'delete' ? undefined : state.value;
        return written(value, stamp(state.version, command.above, nowMs), nowMs);
      }
    }
  } catch (error) {
    return { outcome: { kind: 'failed', error: refusal(error, command.key) } };
  }
}

function written(value: unknown, version: Version, nowMs: number): Applied {
  const outcome = { kind: 'written', value: value === undefined ? null : value, version } as const;
  return { outcome, next: { value, version, changedAtMs: nowMs } };
}

function applyPut(
  state: RowState | undefined,
  command: StorePut<unknown>,
  nowMs: number,
  validate: ValidateRow,
): Applied {
  const at = state?.value === undefined ? null : state.version;
  if (command.ifVersion !== undefined && command.ifVersion !== at) {
    return { outcome: { kind: 'conflict', version: at ?? NO_VERSION } };
  }
  const value = ownCopy(command.value, command.key, validate);
  return written(value, stamp(state?.version ?? NO_VERSION, command.above, nowMs), nowMs);
}

function applyIncrement(
  state: RowState | undefined,
  command: StoreIncrement,
  nowMs: number,
  validate: ValidateRow,
): Applied {
  if (state?.value === undefined) return { outcome: { kind: 'missing' } };
  const row = state.value as Readonly<Record<string, unknown>>;
  const before = Object.hasOwn(row, command.field) ? row[command.field] : undefined;
  if (typeof before !== 'number' || !Number.isFinite(before + command.by)) {
    throw new StoreRefusedError(
      `increment: field "${command.field}" of "${command.key}" holds ${typeof before}, and ${command.by} can't be added to it`,
      { key: command.key },
    );
  }
  const value = ownCopy({ ...row, [command.field]: before + command.by }, command.key, validate);
  return written(value, stamp(state.version, command.above, nowMs), nowMs);
}

/** The fence of buffered writes: late and repeated flushes find their own version, or a newer one. */
function applyFlush(
  state: RowState | undefined,
  command: StoreFlush<unknown>,
  nowMs: number,
  validate: ValidateRow,
): Applied {
  if (state !== undefined && state.version >= command.version) {
    return { outcome: { kind: 'superseded', version: state.version } };
  }
  if (!isBelievable(command.version, nowMs)) {
    const message = `the buffered write of "${command.key}" has a version that is far ahead of the store's clock`;
    throw new StoreRefusedError(message, { key: command.key });
  }
  const value = command.value === null ? undefined : ownCopy(command.value, command.key, validate);
  return written(value, command.version, nowMs);
}

/** A copy that the caller's later changes do not reach. */
function ownCopy(value: unknown, key: string, validate: ValidateRow): unknown {
  if (value === undefined || value === null) {
    throw new StoreRefusedError(`the row "${key}" can't be ${String(value)}`, { key });
  }
  validate(value, key);
  return structuredClone(value);
}

function refusal(error: unknown, key: string): LockstepError {
  if (error instanceof StoreRefusedError) return error;
  const message = messageOf(error);
  return new StoreRefusedError(`the row "${key}" was refused: ${message}`, { key, cause: error });
}
