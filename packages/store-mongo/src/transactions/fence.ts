import {
  NO_VERSION,
  type StoreFence,
  StoreRefusedError,
  StoreTimeoutError,
  type StoreWriteOptions,
} from '@lockstep/core';
import { type Binding, keyFilter } from '../rows/binding.js';
import { restampPipeline } from '../rows/stamp.js';
import { type Call, statementOptions } from '../wire/call.js';
import { mongoTransaction } from './transactions.js';

/**
 * Reads wait for nobody here, so writers and the reader that must wait for them meet in a write: of the key's
 * tombstone, which transactions hold, and of the row. A write meets one that is not committed yet, and waits.
 */
export function mongoFence(
  binding: Binding,
  callOf: (what: string, options: StoreWriteOptions) => Call,
  askMs: () => Promise<number>,
): StoreFence {
  const { clock, primary, source, tombstones, versionField } = binding;
  return {
    nowMs: () => clock.nowMs() ?? askMs(),
    async enter(keys, options) {
      const tx = mongoTransaction(options.tx);
      if (tx === undefined) throw new StoreRefusedError(`${binding.name}: only a transaction can enter`);
      const call = callOf('enter', options);
      const due = clock.in(tx.bound.remainingMs);
      await call.bound.race(tx.inTurn(() => tombstones.lock(source, keys, call, due)));
    },
    async settle(key, options) {
      const call = callOf('settle', options);
      try {
        await call.bound.race(tombstones.lock(source, [key], call));
        const restamp = restampPipeline(versionField, NO_VERSION);
        await call.bound.race(primary.updateOne(keyFilter(binding, key), restamp, statementOptions(call)));
        return true;
      } catch (error) {
        if (error instanceof StoreTimeoutError) return false;
        throw error;
      }
    },
  };
}
