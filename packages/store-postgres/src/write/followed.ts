import { type StoreOutcome, StoreRefusedError, type Version } from '@lockstep/core';
import type { KeyCodec } from '../keys/codec.js';
import { rowValue } from '../values/rows.js';
import { arrayText } from '../wire/arrays.js';
import { type Call, type Row, statement } from '../wire/pipeline.js';
import type { Group, Item } from './plan.js';
import type { Statements } from './statements/statements.js';
import { OUT } from './statements/table-sql.js';
import { versionOf } from './versions.js';

/** The outcome of a command that wrote a row. */
export class Written<Value> {
  readonly kind = 'written';
  readonly value: Value | null;
  readonly version: Version;

  constructor(value: Value | null, version: Version) {
    this.value = value;
    this.version = version;
  }
}

/** Asks for the rows of commands. */
export function readRows(items: readonly Item[], statements: Statements, codec: KeyCodec): Call {
  const inputs = items.map(({ key }) => codec.inputs(key));
  const values = (inputs[0] ?? []).map((_, part) => arrayText(inputs.map((each) => each[part] ?? '')));
  return { statement: statements.readMany(), values };
}

/**
 * Reads a group's rows again, in the transaction of the statement that wrote them: the user's triggers may have
 * written them once more. Nothing where there are no such triggers. On its own, what they put off until the commit
 * comes first; inside a caller's transaction it stays put off.
 */
export function readAgain({ items }: Group, statements: Statements, codec: KeyCodec, own: boolean): Call[] {
  if (!statements.followed) return [];
  const now = own ? statements.now() : undefined;
  const read = readRows(items, statements, codec);
  return now === undefined ? [read] : [{ statement: now, values: [] }, read];
}

/** A plan that was made while the outbox was empty must not become a scan of a full one. */
const BY_INDEX = statement("SELECT pg_catalog.set_config('enable_seqscan', 'off', true)", false);

/**
 * Asks for the texts that triggers have recorded of a group's rows, and others before; where the statement `stamps`, and so
 * tells its own, for these alone. On its own: a transaction tells them at its end.
 */
export function readRecorded(
  { items }: Group,
  statements: Statements,
  own: boolean,
  stamps: boolean,
): Call[] {
  if (!own || !statements.declares) return [];
  if (stamps) {
    const others = statements.others();
    const keys = arrayText(items.map(({ key }) => key));
    return others === undefined ? [] : [{ statement: others, values: [keys] }];
  }
  const least = Math.min(...items.map(({ exact }) => (exact > 0 ? exact : Number.MAX_SAFE_INTEGER)));
  const recorded = { statement: statements.recorded(), values: [String(least)] };
  return statements.firesNothing ? [recorded] : [{ statement: BY_INDEX, values: [] }, recorded];
}

/** The outcome of a command, given the row that is there once the triggers are through. */
export function asCommitted<Value>(
  item: Item,
  kind: Group['kind'],
  outcome: StoreOutcome<Value>,
  row: Row | undefined,
): StoreOutcome<Value> {
  const version = row === undefined ? 0 : versionOf(row.meta[OUT.version]);
  if (outcome.kind === 'conflict' && kind === 'delete' && row !== undefined) {
    return keptByTrigger(item, outcome.version, version, row) ?? outcome;
  }
  if (outcome.kind !== 'written' || outcome.key !== undefined) return outcome;
  const absent = outcome.value === null;
  if (row === undefined ? absent : version === outcome.version) return outcome;
  if (kind === 'flushPut' || kind === 'flushDelete') {
    return { kind: 'superseded', version: Math.max(version, item.exact + 1) };
  }
  return row === undefined
    ? new Written<Value>(null, outcome.version)
    : new Written(rowValue<Value>(row), version);
}

/** A trigger that deletes nothing may have written the row instead: that a row is marked as deleted, for one. */
function keptByTrigger<Value>(
  item: Item,
  locked: Version,
  version: Version,
  row: Row,
): StoreOutcome<Value> | undefined {
  const { '#i': ifVersion = locked } = JSON.parse(item.record) as { readonly '#i'?: Version };
  if (ifVersion !== locked) return undefined;
  if (version > locked) return new Written(rowValue<Value>(row), version);
  const message = `a trigger of the table kept the row ${item.key}`;
  return { kind: 'failed', error: new StoreRefusedError(message, { key: item.key }) };
}
