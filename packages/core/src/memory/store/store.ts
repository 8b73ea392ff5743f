import { isDeepStrictEqual } from 'node:util';
import type { ChangeFeed } from '../../contracts/feed.js';
import type { NewRow } from '../../contracts/rows.js';
import type {
  StoreAdapter,
  StoreCommand,
  StoreOutcome,
  StoreReadOptions,
  StoreRow,
  StoreWriteOptions,
  TransactionHost,
} from '../../contracts/store.js';
import type { StoreCapabilities } from '../../contracts/store-capabilities.js';
import {
  ClosedError,
  InvalidOptionError,
  LockstepError,
  messageOf,
  StoreRefusedError,
  StoreTimeoutError,
} from '../../errors.js';
import { type OptionsOf, option, withDefaults } from '../../kit/options.js';
import type { Deadline } from '../../kit/wait.js';
import { checkKey } from '../../protocol/key.js';
import { foldAhead } from '../../stores/ahead.js';
import { callDeadline } from './calls.js';
import {
  DATABASE,
  databaseOf,
  type MemoryDatabase,
  type MemoryDatabaseOptions,
  memoryDatabase,
} from './database.js';
import { declarations } from './declarations.js';
import type { RowState } from './table.js';
import type { MemoryTx } from './transaction.js';

type Field<Value> = keyof Value & string;

export interface MemoryStoreOptions<Value, Id> extends MemoryDatabaseOptions {
  /** The table's name, which is the source in the change feed. */
  readonly name: string;
  /** A database shared with other stores; excludes the options of `memoryDatabase`. @defaultValue one of its own */
  readonly database?: MemoryDatabase;
  /** The canonical key of an id; throws `InvalidIdError`. @defaultValue ids are strings and their own keys */
  readonly keyOf?: (id: Id) => string;
  /**
   * The id and the row of a value that is to be created; throws to refuse it. @defaultValue the store makes no keys
   */
  readonly newRow?: (value: Value) => { readonly id: Id; readonly value: Value };
  /** Throws to refuse a row, as a database's constraint would. */
  readonly validate?: (value: Value, key: string) => void;
  /**
   * Fields, or lists of fields, that no two rows share; a write that would is refused. Each write, and each lookup that the
   * cache does not answer, looks at all rows. @defaultValue none
   */
  readonly unique?: readonly (Field<Value> | readonly Field<Value>[])[];
}

export const MEMORY_STORE = {
  ...DATABASE,
  name: option.required(
    option.is<string>('a non-empty string', (name) => typeof name === 'string' && name !== ''),
  ),
  database: option.is<MemoryDatabase>('a database of memoryDatabase()', (value) => typeof value === 'object'),
  keyOf: option.callback<(id: never) => string>(),
  newRow: option.callback<(value: never) => { readonly id: never; readonly value: never }>(),
  validate: option.callback<(value: never, key: string) => void>(),
  unique: option.is<readonly never[]>('a list of fields', Array.isArray),
} satisfies OptionsOf<MemoryStoreOptions<never, never>>;

/** A store in this process's memory: a real adapter, and the double for tests of what stores do. */
export interface MemoryStore<Value, Id = string> extends StoreAdapter<Value, Id, MemoryTx> {
  readonly transactions: TransactionHost<MemoryTx>;
  readonly feed: ChangeFeed;
  /**
   * Changes a row (`null`: deletes it) behind the adapter's back, as another program would: a trigger
   * stamps its version and the feed reports it; no writer acknowledges it.
   */
  foreignWrite(key: string, value: Value | null): Promise<void>;
  /** The keys of all rows. */
  keys(): readonly string[];
}

const CAPABILITIES: StoreCapabilities = {
  versioned: true,
  compareAndSet: true,
  transactions: true,
  locks: true,
  changeFeed: true,
  consumers: true,
  increment: true,
  sums: true,
  patch: true,
  restamp: true,
  flush: true,
  replicaReads: false,
  batching: true,
};

/** The bound of a foreign write, which takes no options, in ms. */
const FOREIGN_WRITE_TIMEOUT_MS = 10_000;

/**
 * Makes a store in memory. It loses no row: beyond `maxRows` it refuses. Values are copied in and out
 * (structured clone). Throws `InvalidOptionError`.
 */
export function memoryStore<Value, Id = string>(
  options: MemoryStoreOptions<Value, Id>,
): MemoryStore<Value, Id> {
  const { name: table } = withDefaults(options, MEMORY_STORE, 'memoryStore');
  const {
    name: _,
    database: shared,
    keyOf,
    newRow,
    validate,
    unique: given = [],
    ...databaseOptions
  } = options;
  const unique = given.map((set) => (typeof set === 'string' ? [set] : set));
  for (const name of shared === undefined ? [] : Object.keys(databaseOptions)) {
    throw new InvalidOptionError(`memoryStore.${name}`, 'belongs to memoryDatabase when database is given');
  }
  const database = databaseOf(shared ?? memoryDatabase(databaseOptions));
  const { clock } = database;
  const rows = database.tableOf(table);
  if (validate !== undefined || unique.length > 0) {
    database.constrain(table, (value, key) => {
      validate?.(value as Value, key);
      for (const set of unique) checkUnique(value as Value, key, set);
    });
  }
  const name = `${database.name}:${table}`;
  let closed = false;

  function checkUnique(value: Value, key: string, set: readonly Field<Value>[]): void {
    if (set.some((field) => value[field] === undefined || value[field] === null)) return;
    for (const [other, state] of rows.entries()) {
      const row = state.value as Value | undefined;
      if (other === key || row === undefined || row === null) continue;
      if (set.some((field) => row[field] !== value[field])) continue;
      const message = `${name}: "${other}" has the same "${set.join('", "')}" as "${key}"`;
      throw new StoreRefusedError(message, { key, mayDependOnOthers: true });
    }
  }

  function checkOpen(): void {
    if (closed) throw new ClosedError(`the store ${name} is closed`);
  }

  function rowOf(key: string, state: RowState | undefined): StoreRow<Value> | undefined {
    if (state?.value === undefined) return undefined;
    return { key, value: structuredClone(state.value) as Value, version: state.version };
  }

  async function write(
    command: StoreCommand<Value>,
    call: StoreWriteOptions,
    deadline: Deadline,
  ): Promise<StoreOutcome<Value>> {
    try {
      const outcome =
        call.tx === undefined
          ? await database.execute(table, command, deadline, true, call.notAfterMs)
          : await database.transactionOf(call.tx).execute(table, command);
      return outcome.kind === 'written'
        ? { ...outcome, value: structuredClone(outcome.value) as Value | null }
        : (outcome as StoreOutcome<Value>);
    } catch (error) {
      if (error instanceof LockstepError) return { kind: 'failed', error };
      throw error;
    }
  }

  function keyOfId(id: Id): string {
    const key: unknown = keyOf === undefined ? id : keyOf(id);
    checkKey(key, table);
    return key;
  }

  function created(value: Value, make: NonNullable<typeof newRow>): NewRow<Value> | LockstepError {
    try {
      const { id, value: row } = make(value);
      return { key: keyOfId(id), value: row };
    } catch (cause) {
      const message = `${name}: no key for a new row: ${messageOf(cause)}`;
      return cause instanceof LockstepError ? cause : new StoreRefusedError(message, { cause });
    }
  }

  return {
    name,
    source: table,
    capabilities: { ...CAPABILITIES, create: newRow !== undefined },
    transactions: database.transactions,
    feed: database.feed,
    declared: declarations({
      ...{ name, unique, rows },
      keys: (tx) => [
        ...rows.keys(),
        ...(tx === undefined ? [] : database.transactionOf(tx).changedKeys(table)),
      ],
      rowAt: (key, tx) =>
        (tx === undefined ? rows.get(key) : database.transactionOf(tx).read(table, key))?.value,
    }),
    fence: {
      nowMs: () => clock.now(),
      enter: (keys, { tx }) => database.transactionOf(tx).hold(table, keys),
      async settle(key, call) {
        const deadline = callDeadline(call, clock, `${name}: settle`);
        try {
          await database.settle(table, key, deadline);
          return true;
        } catch (error) {
          if (error instanceof StoreTimeoutError) return false;
          throw error;
        }
      },
    },
    keyOf: keyOfId,
    ...(newRow && {
      newRows(values) {
        checkOpen();
        return values.map((value) => created(value, newRow));
      },
    }),
    check(key, value) {
      try {
        structuredClone(value);
      } catch (cause) {
        throw new StoreRefusedError(`the row "${key}" was refused: ${messageOf(cause)}`, { key, cause });
      }
    },
    returnsAsSent(set) {
      try {
        return isDeepStrictEqual(structuredClone(set), set);
      } catch {
        return false;
      }
    },
    async read(keys: readonly string[], call: StoreReadOptions) {
      checkOpen();
      const deadline = callDeadline(call, clock, `${name}: read`);
      deadline.throwIfOver();
      const tx = call.tx === undefined ? undefined : database.transactionOf(call.tx);
      if (call.lock === true) await tx?.hold(table, keys);
      return keys.map((key) => rowOf(key, tx === undefined ? rows.get(key) : tx.read(table, key)));
    },
    async write(commands, call) {
      checkOpen();
      const deadline = callDeadline(call, clock, `${name}: write`);
      deadline.throwIfOver();
      const folding = foldAhead(commands, async () => clock.now() * 1_000);
      const folded = folding instanceof Promise ? await folding : folding;
      if (call.tx === undefined) {
        return await Promise.all(folded.map((command) => write(command, call, deadline)));
      }
      const outcomes: StoreOutcome<Value>[] = [];
      for (const command of folded) outcomes.push(await write(command, call, deadline));
      return outcomes;
    },
    async foreignWrite(key, value) {
      const deadline = callDeadline({ timeoutMs: FOREIGN_WRITE_TIMEOUT_MS }, clock, `${name}: foreign write`);
      const command: StoreCommand<Value> =
        value === null ? { kind: 'delete', key, above: 0 } : { kind: 'put', key, value, above: 0 };
      const outcome = await database.execute(table, command, deadline, false);
      if (outcome.kind === 'failed') throw outcome.error;
    },
    keys: () => rows.keys(),
    async open() {
      closed = false;
    },
    async close() {
      closed = true;
      if (shared === undefined) await database.feed.close();
    },
  };
}
