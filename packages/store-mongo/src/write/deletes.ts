import { NO_VERSION, type StoreDelete, type StoreOutcome, type Version } from '@lockstep/core';
import { type Binding, floorOf, keysFilter, lastStart } from '../rows/binding.js';
import { versionsOf } from '../rows/reads.js';
import { type Call, statementOptions } from '../wire/call.js';

/**
 * Deletes rows and leaves tombstones, in the transaction of `call`: a crash leaves both or none, a flush
 * that is late finds the tombstone, and whoever changed a row since the transaction's snapshot makes it
 * conflict and run again.
 *
 * The tombstones come first, so that the change stream tells of them first: a deletion that follows its
 * tombstone in one transaction is ours, any other is another program's.
 */
export async function deleteRows<Value>(
  binding: Binding,
  commands: readonly StoreDelete[],
  call: Call,
): Promise<StoreOutcome<Value>[]> {
  const { primary, source, tombstones } = binding;
  const versions = await versionsOf(
    binding,
    commands.map(({ key }) => key),
    call,
  );
  const matched = commands.filter(({ key, ifVersion }) => {
    const version = versions.get(key);
    return version !== undefined && (ifVersion === undefined || ifVersion === version);
  });
  const stamped = new Map<string, Version>();
  if (matched.length > 0) {
    const deleted = matched.map(({ key, above }) => ({
      key,
      above: Math.max(floorOf(binding, above), versions.get(key) ?? NO_VERSION),
    }));
    const due = call.bound.notAfterMs === undefined ? undefined : lastStart(binding, call);
    const stamps = await tombstones.stamp(source, deleted, call, due);
    matched.forEach(({ key }, at) => {
      stamped.set(key, stamps[at] ?? NO_VERSION);
    });
    await primary.deleteMany(
      keysFilter(
        binding,
        matched.map(({ key }) => key),
      ),
      statementOptions(call),
    );
  }
  return commands.map(({ key }): StoreOutcome<Value> => {
    const version = stamped.get(key);
    if (version !== undefined) return { kind: 'written', value: null, version };
    const standing = versions.get(key);
    return standing === undefined ? { kind: 'missing' } : { kind: 'conflict', version: standing };
  });
}
