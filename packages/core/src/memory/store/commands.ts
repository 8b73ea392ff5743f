import type {
  RowPatch,
  StoreCommand,
  StoreIncrement,
  StoreOutcome,
  StorePatch,
} from '../../contracts/store.js';
import { isBelievable, NO_VERSION, type Version } from '../../contracts/version.js';
import { messageOf, StoreRefusedError } from '../../errors.js';
import { type Amount, decimalOf, decimalText, plus } from '../../kit/decimal.js';
import { isProperties, patched } from '../../values/difference.js';
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

/** Leaves a number between that no row ever has. */
function nextEven(version: Version): Version {
  return version + 2 + (version % 2);
}

/** Applies a command to what is at its key. Pure but for `validate`. */
export function applyStoreCommand(
  state: RowState | undefined,
  command: StoreCommand<unknown>,
  nowMs: number,
  validate: ValidateRow,
): Applied {
  try {
    return apply(state, command, nowMs, validate);
  } catch (cause) {
    const { key } = command;
    const message = `the row "${key}" was refused: ${messageOf(cause)}`;
    const error = cause instanceof StoreRefusedError ? cause : new StoreRefusedError(message, { key, cause });
    return { outcome: { kind: 'failed', error } };
  }
}

function apply(
  state: RowState | undefined,
  command: StoreCommand<unknown>,
  nowMs: number,
  validate: ValidateRow,
): Applied {
  const { key } = command;
  const refused = (why: string): StoreRefusedError => new StoreRefusedError(why, { key });
  /** A copy that the caller's later changes do not reach. */
  const copy = (value: unknown): unknown => {
    if (value === undefined || value === null) throw refused(`the row "${key}" can't be ${String(value)}`);
    validate(value, key);
    return structuredClone(value);
  };
  const written = (value: unknown, version: Version): Applied => ({
    outcome: { kind: 'written', value: value ?? null, version },
    next: { value, version, changedAtMs: nowMs },
  });
  const row = state?.value === undefined ? undefined : state;
  const version = state?.version ?? NO_VERSION;

  // The fence of buffered writes: late and repeated flushes find their own version, or a newer one.
  if (command.kind === 'flush') {
    if (version >= command.version) return { outcome: { kind: 'superseded', version } };
    if (!isBelievable(command.version, nowMs)) {
      const of = `the buffered write of "${key}"`;
      throw refused(`${of} has a version that is far ahead of the store's clock`);
    }
    return written(command.value === null ? undefined : copy(command.value), command.version);
  }
  const conditional = command.kind === 'patch' && command.ifVersion !== undefined;
  if (row === undefined && command.kind !== 'put' && !conditional) return { outcome: { kind: 'missing' } };
  const expected = command.kind === 'increment' ? undefined : command.ifVersion;
  if (expected !== undefined && expected !== (row?.version ?? null)) {
    return { outcome: { kind: 'conflict', version: row?.version ?? NO_VERSION } };
  }
  const next = stamp(version, command.above, nowMs);
  /** Each step on the way is checked as a row of its own. */
  const summed = (held: readonly unknown[], field: string): Applied => {
    const rows = held.map((value) => copy({ ...(row?.value as object), [field]: value }));
    const { outcome, ...applied } = written(rows.at(-1), next);
    return { ...applied, outcome: { ...outcome, steps: held.slice(0, -1) } as StoreOutcome<unknown> };
  };
  switch (command.kind) {
    case 'put':
      return written(copy(command.value), next);
    case 'patch':
      return written(copy(patchedRow(row?.value, command, refused)), next);
    case 'increment':
      return summed(sums(row?.value, command, refused), command.field);
    case 'delete':
      return written(undefined, next);
    case 'restamp':
      return written(row?.value, next);
  }
}

function patchedRow(
  row: unknown,
  { key, set, unset = [] }: StorePatch<unknown>,
  refused: (why: string) => Error,
): unknown {
  if (!isProperties(row)) throw refused(`the row "${key}" has no properties that could be set`);
  const next: Record<string, unknown> = patched(row, set as RowPatch<typeof row>);
  for (const property of unset) delete next[property];
  return next;
}

/** The values of a field after each of the terms. */
function sums(
  value: unknown,
  { by, field, key, terms = [by] }: StoreIncrement,
  refused: (why: string) => Error,
): unknown[] {
  const row = value as Readonly<Record<string, unknown>>;
  let at = Object.hasOwn(row, field) ? row[field] : undefined;
  return terms.map((term) => {
    const next = added(at, term);
    if (next === undefined) {
      const holds = `field "${field}" of "${key}" holds ${typeof at}`;
      throw refused(`increment: ${holds}, and ${term} can't be added to it`);
    }
    at = next;
    return next;
  });
}

/** The sum, of the field's own kind: a number, a bigint, or a decimal text. `undefined`: it holds none, or the sum is none. */
function added(before: unknown, term: Amount): unknown {
  if (typeof before === 'number') {
    const sum = before + Number(term);
    return Number.isFinite(sum) ? sum : undefined;
  }
  if (typeof before !== 'bigint' && typeof before !== 'string') return undefined;
  const [one, other] = [decimalOf(before), decimalOf(term)];
  if (one === undefined || other === undefined) return undefined;
  const sum = plus(one, other);
  if (typeof before === 'string') return decimalText(sum);
  return sum.scale === 0 ? sum.units : undefined;
}
