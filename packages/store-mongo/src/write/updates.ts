import { type StoreIncrement, type StoreOutcome, StoreRefusedError, type StoreRestamp } from '@lockstep/core';
import { type Amount, type Decimal, decimalOf, isWhole, stepsBefore } from '@lockstep/core/kit';
import { Decimal128, type Document, Long } from 'mongodb';
import { type Binding, floorOf, keyFilter, lastStart, stampFor, toRow } from '../rows/binding.js';
import { versionOf } from '../rows/reads.js';
import { restampPipeline, toStored } from '../rows/stamp.js';
import { checkName } from '../rows/storable.js';
import { type Call, canBegin, statementOptions } from '../wire/call.js';
import { changeRow } from './change-row.js';
import { written } from './outcomes.js';

/**
 * Adds to a field that holds a number, of whatever BSON type, which it keeps where the sum allows.
 *
 * @param sent how often it is sent, this time included
 */
export async function increment<Value>(
  binding: Binding,
  command: StoreIncrement,
  call: Call,
  sent = 1,
): Promise<StoreOutcome<Value>> {
  const { key, field, by, above, terms } = command;
  const { versionField, keyField } = binding;
  const sum = decimalOf(by);
  if (sum === undefined) throw refused(binding, command, `can't add ${by}`);
  if (field === keyField || field === versionField || field === '_id') {
    throw refused(binding, command, 'this field is not for counting');
  }
  checkName(binding, command, field);
  // The name is a literal: dots and dollar signs in it are part of the name.
  const name: Document = { $literal: field };
  const current: Document = { $getField: { field: name, input: '$$ROOT' } };
  const decimal = { $eq: [{ $type: current }, 'decimal'] };
  const amount = { $cond: [decimal, literal(asDecimal(binding, command)), literal(amountOf(by, sum))] };
  const counts = terms === undefined ? { $isNumber: current } : isSummed(current, sum, terms);
  const filter = { ...keyFilter(binding, key), $expr: counts };
  const document = await changeRow(binding, call, filter, () => [
    { $replaceWith: { $setField: { field: name, input: '$$ROOT', value: { $add: [current, amount] } } } },
    { $set: { [versionField]: stampFor(binding, above, call) } },
  ]);
  if (document !== null) {
    const row = toRow<Value>(binding, document);
    if (terms === undefined) return written(row);
    const steps = stepsBefore((row.value as Document)[field] as number, terms)?.map(Number) ?? [];
    return { kind: 'written', value: row.value, version: row.version, steps };
  }
  if ((await versionOf(binding, key, call)) === undefined) return { kind: 'missing' };
  // Inserted since, or given a number: there is something to add to.
  const counted = await binding.primary.findOne(filter, {
    ...statementOptions(call),
    projection: { _id: 1 },
  });
  if (counted !== null && canBegin(call, sent)) return await increment(binding, command, call, sent + 1);
  throw refused(binding, command, terms === undefined ? 'it holds no number' : 'sums of it are not exact');
}

/** Several amounts may be added as one where all that the field holds on the way are integers that a double can be. */
function isSummed(current: Document, { units }: Decimal, terms: readonly Amount[]): Document {
  const whole = terms.every(isWhole);
  const size = units < 0n ? -units : units;
  if (!whole || size > BigInt(Number.MAX_SAFE_INTEGER)) return { $literal: false };
  const room = Number.MAX_SAFE_INTEGER - Number(size);
  const fits = { $and: [{ $lte: [{ $abs: current }, room] }, { $eq: [current, { $trunc: current }] }] };
  return { $cond: [{ $in: [{ $type: current }, ['int', 'long', 'double']] }, fits, false] };
}

/** The amount for a field that holds a decimal. */
function asDecimal(binding: Binding, command: StoreIncrement): Decimal128 {
  try {
    return Decimal128.fromString(String(command.by));
  } catch {
    throw refused(binding, command, `${command.by} is no Decimal128`);
  }
}

const literal = (value: unknown): Document => ({ $literal: value });

/** The amount for a field that holds no decimal. */
function amountOf(by: Amount, { scale, units }: Decimal): unknown {
  if (typeof by === 'number' && !Number.isSafeInteger(by)) return by;
  if (scale > 0) return Number(by);
  if (BigInt.asIntN(64, units) !== units) return Decimal128.fromString(String(units));
  return isInt32(Number(units)) ? Number(units) : Long.fromBigInt(units);
}

function isInt32(value: number): boolean {
  return (value | 0) === value;
}

function refused(binding: Binding, { key, field }: StoreIncrement, problem: string): StoreRefusedError {
  return new StoreRefusedError(`${binding.name}: increment of "${field}" of "${key}": ${problem}`, { key });
}

/** Gives an unchanged row a version above a floor, if it still is at `ifVersion`. */
export async function restamp<Value>(
  binding: Binding,
  command: StoreRestamp,
  call: Call,
): Promise<StoreOutcome<Value>> {
  const { versionField } = binding;
  const filter = { ...keyFilter(binding, command.key), [versionField]: toStored(command.ifVersion) };
  const document = await changeRow(binding, call, filter, () =>
    restampPipeline(versionField, floorOf(binding, command.above), lastStart(binding, call)),
  );
  if (document !== null) return written(toRow<Value>(binding, document));
  const version = await versionOf(binding, command.key, call);
  return version === undefined ? { kind: 'missing' } : { kind: 'conflict', version };
}
