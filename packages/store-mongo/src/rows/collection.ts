import {
  type ChangeFeed,
  ClosedError,
  type DeclaredSets,
  foldAhead,
  NO_VERSION,
  type StoreAdapter,
  type StoreCapabilities,
  type StoreInstallation,
  type StoreOpenOptions,
  type StoreReadOptions,
  type StoreShape,
  type StoreWriteOptions,
  type TransactionHost,
} from '@lockstep/core';
import type { ClientSession, Document } from 'mongodb';
import type { AttachmentWatch } from '../install/watch.js';
import { mongoFence } from '../transactions/fence.js';
import { lockInTransaction, readInTransaction } from '../transactions/reads.js';
import { mongoTransaction } from '../transactions/transactions.js';
import { CallBound } from '../wire/bound.js';
import type { Call } from '../wire/call.js';
import { readAgain } from '../wire/read-again.js';
import { runDeclared } from '../write/declared-writes.js';
import { checkValue, runInTransaction } from '../write/writes.js';
import { type Binding, givesNumbers } from './binding.js';
import { mongoDeclarations } from './declarations.js';
import { encodeKey } from './key.js';
import { newRow } from './new-row.js';
import { readRows } from './reads.js';
import { bsonSerializer, returnsAsSent } from './serializer.js';

/** A collection bound to Lockstep. Its transactions and feed are those of all collections of its store. */
export interface MongoCollection<Value extends Document, Id> extends StoreAdapter<Value, Id, ClientSession> {
  open(options?: StoreOpenOptions): Promise<void>;
}

export interface Shared {
  /** True when the server is a replica set: known after `open`, assumed before. */
  readonly replicated: () => boolean;
  readonly transactions: TransactionHost<ClientSession>;
  readonly feed: ChangeFeed;
  readonly shape: StoreShape;
  readonly watch: AttachmentWatch;
  readonly installation: StoreInstallation;
  readonly open: (options: StoreOpenOptions) => Promise<void>;
  readonly checkIndexes: (sets: DeclaredSets) => Promise<void>;
  /** Reads what attach has recorded again. */
  readonly renew: () => Promise<void>;
  readonly identity: (binding: Binding) => Promise<string | undefined>;
  readonly replicaReads: boolean;
  /** The primary's clock, in ms since the epoch. */
  readonly nowMs: () => Promise<number>;
}

export function boundCollection<Value extends Document, Id>(
  binding: Binding,
  shared: Shared,
): MongoCollection<Value, Id> {
  let closed = false;
  let capabilities: StoreCapabilities | undefined;

  const capabilitiesOf = (whole: boolean): StoreCapabilities => ({
    versioned: true,
    compareAndSet: true,
    transactions: whole,
    locks: whole,
    changeFeed: whole,
    consumers: whole,
    adopts: true,
    increment: true,
    sums: givesNumbers(binding),
    patch: true,
    create: binding.keyField === '_id',
    restamp: true,
    flush: whole,
    replicaReads: shared.replicaReads,
    batching: true,
  });

  function callOf(what: string, options: StoreWriteOptions): Call {
    if (closed) throw new ClosedError(`the store ${binding.name} is closed`);
    const bound = new CallBound(`${binding.name}: ${what}`, options);
    bound.check();
    shared.watch.used = true;
    return { bound, session: mongoTransaction(options.tx)?.calls };
  }

  const fence = mongoFence(binding, callOf, shared.nowMs);

  return {
    name: binding.name,
    source: binding.source,
    get capabilities() {
      const whole = shared.replicated();
      if (capabilities?.changeFeed !== whole) capabilities = capabilitiesOf(whole);
      return capabilities;
    },
    get transactions() {
      return shared.replicated() ? shared.transactions : undefined;
    },
    get feed() {
      return shared.replicated() ? shared.feed : undefined;
    },
    get fence() {
      return shared.replicated() ? fence : undefined;
    },
    installation: shared.installation,
    serializer: bsonSerializer(binding.primary.bsonOptions),
    shape: shared.shape,
    declared: mongoDeclarations(binding, { ...shared, callOf }),
    async open(options = {}) {
      closed = false;
      await shared.open(options);
    },
    identity: () => shared.identity(binding),
    keyOf: (id) => encodeKey(id, binding.source),
    check(key, value) {
      const refused = checkValue(binding, { kind: 'put', key, value, above: NO_VERSION });
      if (refused?.kind === 'failed') throw refused.error;
    },
    ...(binding.keyField === '_id' && {
      newRows: (values: readonly Value[]) => values.map((value) => newRow(binding, value)),
    }),
    returnsAsSent: (set) => returnsAsSent(binding, set),
    async read(keys: readonly string[], options: StoreReadOptions) {
      const call = callOf('read', options);
      if (keys.length === 0) return [];
      const tx = mongoTransaction(options.tx);
      const collection = options.primary ? binding.primary : binding.reader;
      return await call.bound.race(
        tx === undefined
          ? readAgain(call.bound, () => readRows<Value>(binding, collection, keys, call))
          : tx.inTurn(() =>
              options.lock === true
                ? lockInTransaction<Value>(binding, keys, tx, call)
                : readInTransaction<Value>(binding, keys, tx, call, options.flushed),
            ),
      );
    },
    async write(commands, options) {
      const call = callOf('write', options);
      if (commands.length === 0) return [];
      const tx = mongoTransaction(options.tx);
      // The server tells whole milliseconds, rounded down.
      const clockUs = async (): Promise<number> => ((await call.bound.race(shared.nowMs())) + 1) * 1_000;
      const folding = foldAhead(commands, clockUs);
      const folded = folding instanceof Promise ? await folding : folding;
      return await call.bound.race(
        tx === undefined
          ? runDeclared(binding, folded, call)
          : tx.inTurn(() => runInTransaction(binding, folded, tx, call)),
      );
    },
    async close() {
      closed = true;
      shared.watch.stop();
    },
  };
}
