import type { CallbackContext } from '../contracts/options.js';
import type {
  StoreAdapter,
  StoreCallOptions,
  StoreCommand,
  StoreOutcome,
  StoreRow,
} from '../contracts/store.js';
import { isVersion, NO_VERSION } from '../contracts/version.js';
import { StoreContractError, UnsupportedError } from '../errors.js';
import { type OptionsOf, option, withDefaults } from '../kit/options.js';

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
   * to say that nothing was written; after any other error that is not known.
   */
  readonly write: (
    id: string,
    value: Value,
    context: CallbackContext,
  ) => Promise<Value | null | undefined> | Promise<void>;
  /** Removes the record; with `version`, returns the version of the removal. @defaultValue deletes are refused */
  readonly delete?: (id: string, context: CallbackContext) => Promise<number> | Promise<void>;
  /**
   * The record's version, if it has one that grows with every change, whoever makes it: a positive safe
   * integer. @defaultValue the store is unversioned: overlapping writes leave a miss
   */
  readonly version?: (value: Value) => number;
}

type AnyCallbacks = CallbackStoreOptions<unknown>;

export const CALLBACK_STORE = {
  name: option.is<string, string>('a string', (name) => typeof name === 'string', 'callback'),
  read: option.required(option.callback<AnyCallbacks['read']>()),
  readMany: option.callback<NonNullable<AnyCallbacks['readMany']>>(),
  write: option.required(option.callback<AnyCallbacks['write']>()),
  delete: option.callback<NonNullable<AnyCallbacks['delete']>>(),
  version: option.callback<NonNullable<AnyCallbacks['version']>>(),
} satisfies OptionsOf<AnyCallbacks>;

/**
 * A store of the caller's own functions: an HTTP API, files on a disk, another ORM. Without `version` the
 * cache protects each write by an intent, so that what is cached is never older than the last write;
 * where writes overlap, the next reader loads. It has no change feed: what other programs change is seen
 * when entries expire or `invalidate` is called. Throws `InvalidOptionError`.
 */
export function callbackStore<Value>(
  options: CallbackStoreOptions<Value>,
): StoreAdapter<Value, string, never> {
  const { name, read, readMany, version, write } = withDefaults(
    options,
    CALLBACK_STORE,
    'callbackStore',
  ) as Required<CallbackStoreOptions<Value>>;

  function versionOf(value: Value, key: string): number {
    if (version === undefined) return NO_VERSION;
    const found = version(value);
    if (isVersion(found)) return found;
    throw new StoreContractError(
      `${name}: version() of "${key}" gave ${String(found)}, not a positive safe integer`,
      {
        key,
      },
    );
  }

  function row(value: Value | null | undefined, key: string): StoreRow<Value> | undefined {
    return value === undefined || value === null ? undefined : { key, value, version: versionOf(value, key) };
  }

  async function apply(command: StoreCommand<Value>, context: CallbackContext): Promise<StoreOutcome<Value>> {
    const { key } = command;
    if (command.kind === 'put') {
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

  return {
    name,
    source: name,
    capabilities: {
      versioned: version !== undefined,
      compareAndSet: false,
      transactions: false,
      changeFeed: false,
      increment: false,
      restamp: false,
      flush: false,
      replicaReads: false,
      batching: false,
      readBatching: readMany !== undefined,
    },
    keyOf: (id) => id,
    async read(keys, callOptions) {
      const context = contextOf(callOptions);
      if (readMany === undefined) {
        return await Promise.all(keys.map(async (key) => row(await read(key, context), key)));
      }
      const values = await readMany(keys, context);
      if (values.length === keys.length) return keys.map((key, i) => row(values[i], key));
      throw new StoreContractError(
        `${name}: readMany() gave ${values.length} records for ${keys.length} ids`,
      );
    },
    async write(commands, callOptions) {
      const context = contextOf(callOptions);
      return await Promise.all(commands.map((command) => apply(command, context)));
    },
    close: async () => undefined,
  };
}

function contextOf({ signal, timeoutMs }: StoreCallOptions): CallbackContext {
  const late = AbortSignal.timeout(timeoutMs);
  return { signal: signal === undefined ? late : AbortSignal.any([signal, late]) };
}
