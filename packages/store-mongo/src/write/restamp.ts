import type { StoreOutcome, StoreRestamp, StoreRow } from '@lockstep/core';
import { type Binding, floorOf, keyFilter, toRow } from '../rows/binding.js';
import { versionOf } from '../rows/reads.js';
import { restampPipeline, toStored } from '../rows/stamp.js';
import { type Call, statementOptions } from '../wire/call.js';

export function written<Value>(row: StoreRow<Value>): StoreOutcome<Value> {
  return { kind: 'written', value: row.value, version: row.version };
}

/** Gives an unchanged row a version above a floor, if it still is at `ifVersion`. */
export async function restamp<Value>(
  binding: Binding,
  command: StoreRestamp,
  call: Call,
): Promise<StoreOutcome<Value>> {
  const { versionField } = binding;
  const document = await binding.primary.findOneAndUpdate(
    { ...keyFilter(binding, command.key), [versionField]: toStored(command.ifVersion) },
    restampPipeline(versionField, floorOf(binding, command.above), binding.clock.in(call.bound.remainingMs)),
    { ...statementOptions(call), returnDocument: 'after' },
  );
  if (document !== null) return written(toRow<Value>(binding, document));
  const version = await versionOf(binding, command.key, call);
  return version === undefined ? { kind: 'missing' } : { kind: 'conflict', version };
}
