import { type Clock, systemClock } from '../contracts/clock.js';
import type { CallbackContext } from '../contracts/options.js';
import type {
  StoreAdapter,
  StoreCallOptions,
  StoreCommand,
  StoreOutcome,
  StoreRow,
} from '../contracts/store.js';
import { isVersion, NO_VERSION } from '../contracts/version.js';
import { StoreContractError, StoreTimeoutError, UnsupportedError } from '../errors.js';
import { type OptionsOf, option, withDefaults } from '../kit/options.js';
import { Deadline } from '../kit/wait.js';

export interface CallbackStoreOptions<Value> {
  /** For messages. @defaultValue 'callback' */
  readonly name?: string;
  /** The record, or `undefined` (or `null`) when there is none. */
  readonly read: (id: string, context: CallbackContext) => Promise<Value | null | undefined>;
  /** Many at once, position by position. @defaultValue one `read` each */
  readonly readMany?: (
    ids: readonly string[],
    context: CallbackContext,
  ) => Promise<readonly (Value | null | undefined)[]>;
  /**
   * Stores the record. What it returns, if anything, is the record as stored. Throw `StoreRefusedError`
   * to say that nothing was written; after any other error that is not known. @defaultValue puts are refused
   */
  readonly write?: (
    id: string,
    value: Value,
    context: CallbackContext,
  ) => Promise<Value | null | undefined> | Promise<void>;
  /**
   * Stores a record whose id is made elsewhere, and returns that id and, if it is another one, the record as stored.
   * Throw as `write` does. @defaultValue `create` is refused
   */
  readonly create?: (value: Value, context: CallbackContext) => Promise<CreatedRecord<Value>>;
  /** Removes the record; with `version`, returns the version of the removal. @defaultValue deletes are refused */
  readonly delete?: (id: string, context: CallbackContext) => Promise<number> | Promise<void>;
  /**
   * The record's version, if it has one that grows with every change, whoever makes it: a positive safe
   * integer. @defaultValue the store is unversioned: overlapping writes leave a miss
   */
  readonly version?: (value: Value) => number;
}

/** The record that `create` of a callback store has made. */
export interface CreatedRecord<Value> {
  readonly id: string;
  /** @defaultValue what was to be stored */
  readonly value?: Value;
}

type AnyCallbacks = CallbackStoreOptions<unknown>;

export const CALLBACK_STORE = {
  name: option.is<string, string>('a string', (name) => typeof name === 'string', 'callback'),
  read: option.required(option.callback<AnyCallbacks['read']>()),
  readMany: option.callback<NonNullable<AnyCallbacks['readMany']>>(),
  write: option.callback<NonNullable<AnyCallbacks['write']>>(),
  create: option.callback<NonNullable<AnyCallbacks['create']>>(),
  delete: option.callback<NonNullable<AnyCallbacks['delete']>>(),
  version: option.callback<NonNullable<AnyCallbacks['version']>>(),
} satisfies OptionsOf<AnyCallbacks>;

/**
 * A store of the caller's own functions: an HTTP API, files on a disk, another ORM. Without `version` the
 * cache protects each write by an intent, so that what is cached is never older than the last write;
 * where writes overlap, the next reader loads. Without functions that write it is read-only. It has no change feed: what other programs change is seen
 * when entries expire or `invalidate` is called. Throws `InvalidOptionError`.
 */
export function callbackStore<Value>(
  options: CallbackStoreOptions<Value>,
): StoreAdapter<Value, string, never> {
  withDefaults(options, CALLBACK_STORE, 'callbackStore');
  return callbacks(options, systemClock);
}

/** Makes the store, with a clock of the caller's. */
export function callbacks<Value>(
  options: CallbackStoreOptions<Value>,
  clock: Clock,
): StoreAdapter<Value, string, never> {
  const { create, name = CALLBACK_STORE.name.fallback, read, readMany, version, write } = options;

  /** Runs a callback within the time of the engine's call, with a signal that aborts at its end. */
  function bounded<T>(
    { signal, timeoutMs }: StoreCallOptions,
    call: (context: CallbackContext) => Promise<T>,
  ): Promise<T> {
    const late = (): Error => new StoreTimeoutError(`${name}: no answer within ${timeoutMs} ms`);
    return new Deadline({ clock, signal, timeoutMs, late }).run((ending) => call({ signal: ending }));
  }

  function versionOf(value: Value, key: string): number {
    if (version === undefined) return NO_VERSION;
    const found = version(value);
    if (isVersion(found)) return found;
    const message = `${name}: version() of "${key}" gave ${String(found)}, not a positive safe integer`;
    throw new StoreContractError(message, { key });
  }

  function row(value: Value | null | undefined, key: string): StoreRow<Value> | undefined {
    return value === undefined || value === null ? undefined : { key, value, version: versionOf(value, key) };
  }

  async function apply(command: StoreCommand<Value>, context: CallbackContext): Promise<StoreOutcome<Value>> {
    const { key } = command;
    if (command.kind === 'put') {
      if (write === undefined) throw new UnsupportedError('callbackStore.write: not given', { key });
      const stored = (await write(key, command.value, context)) ?? command.value;
      return { kind: 'written', value: stored, version: versionOf(stored, key) };
    }
    if (command.kind !== 'delete') throw new UnsupportedError(`${name}: has no ${command.kind}`, { key });
    if (options.delete === undefined) throw new UnsupportedError(`callbackStore.delete: not given`, { key });
    const removal = await options.delete(key, context);
    if (version === undefined) return { kind: 'written', value: null, version: NO_VERSION };
    // A removal without a version can't be compared with what is cached: whatever that is, it goes.
    return isVersion(removal) ? { kind: 'written', value: null, version: removal } : { kind: 'missing' };
  }

  async function insert(
    value: Value,
    make: NonNullable<typeof create>,
    context: CallbackContext,
  ): Promise<StoreRow<Value>> {
    const created = await make(value, context);
    if (typeof created?.id !== 'string' || created.id === '') {
      throw new StoreContractError(`${name}: create() gave no id, a non-empty string`);
    }
    const { id: key, value: stored = value } = created;
    return { key, value: stored, version: versionOf(stored, key) };
  }

  async function readAll(
    keys: readonly string[],
    context: CallbackContext,
  ): Promise<(StoreRow<Value> | undefined)[]> {
    if (readMany === undefined) {
      return await Promise.all(keys.map(async (key) => row(await read(key, context), key)));
    }
    const values = await readMany(keys, context);
    if (values.length === keys.length) return keys.map((key, i) => row(values[i], key));
    const message = `${name}: readMany() gave ${values.length} records for ${keys.length} ids`;
    throw new StoreContractError(message);
  }

  return {
    name,
    source: name,
    capabilities: {
      versioned: version !== undefined,
      compareAndSet: false,
      transactions: false,
      changeFeed: false,
      increment: false,
      readOnly: write === undefined && create === undefined && options.delete === undefined,
      create: create !== undefined,
      restamp: false,
      flush: false,
      replicaReads: false,
      batching: false,
      readBatching: readMany !== undefined,
    },
    keyOf: (id) => id,
    read: (keys, call) => bounded(call, (context) => readAll(keys, context)),
    write: (commands, call) =>
      bounded(call, (context) => Promise.all(commands.map((command) => apply(command, context)))),
    ...(create && {
      insert: (value, call) => bounded(call, (context) => insert(value, create, context)),
    }),
    close: async () => undefined,
  };
}
