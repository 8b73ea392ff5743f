import { type StoreIncrement, type StoreOutcome, StoreRefusedError, type StoreRestamp } from '@lockstep/core';
import { type Document, Long } from 'mongodb';
import { type Binding, floorOf, keyFilter, lastStart, stampFor, toRow } from '../rows/binding.js';
import { versionOf } from '../rows/reads.js';
import { restampPipeline, toStored } from '../rows/stamp.js';
import type { Call } from '../wire/call.js';
import { changeRow } from './change-row.js';
import { written } from './outcomes.js';

/** Adds to a field that holds a number, of whatever BSON type, which it keeps where the sum allows. */
export async function increment<Value>(
  binding: Binding,
  command: StoreIncrement,
  call: Call,
): Promise<StoreOutcome<Value>> {
  const { key, field, by, above } = command;
  const { versionField, keyField } = binding;
  if (!Number.isFinite(by)) throw refused(binding, command, `can't add ${by}`);
  if (field === keyField || field === versionField || field === '_id') {
    throw refused(binding, command, 'this field is not for counting');
  }
  // The name is a literal: dots and dollar signs in it are part of the name.
  const name: Document = { $literal: field };
  const current: Document = { $getField: { field: name, input: '$$ROOT' } };
  const amount: Document = { $literal: Number.isSafeInteger(by) && !isInt32(by) ? Long.fromNumber(by) : by };
  const filter = { ...keyFilter(binding, key), $expr: { $isNumber: current } };
  const document = await changeRow(binding, call, filter, () => [
    { $replaceWith: { $setField: { field: name, input: '$$ROOT', value: { $add: [current, amount] } } } },
    { $set: { [versionField]: stampFor(binding, above, call) } },
  ]);
  if (document !== null) return written(toRow<Value>(binding, document));
  if ((await versionOf(binding, key, call)) === undefined) return { kind: 'missing' };
  throw refused(binding, command, 'it holds no number');
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
