import { randomInt } from 'node:crypto';
import { inspect, isDeepStrictEqual } from 'node:util';
import type {
  StoreAdapter,
  StoreCallOptions,
  StoreCommand,
  StoreOutcome,
  StoreRow,
  StoreTransaction,
  Version,
} from '@lockstep/core';
import { expectEqual, expectThat } from '../kit/expect.js';
import { type Waits, waits } from '../kit/runner.js';
import type { StoreConformanceOptions, StoreHook, StoreUnderTest, TestedCapability } from './under-test.js';

let lastId = randomInt(1, 2 ** 30);

/** An outcome that wrote. */
export type Written<Value> = Extract<StoreOutcome<Value>, { kind: 'written' }>;

/** The tools of a case: one adapter, rows of its own, and each command in short form. */
export interface StoreContext<Value = unknown, Id = unknown> extends Waits {
  readonly underTest: StoreUnderTest<Value, Id>;
  readonly store: StoreAdapter<Value, Id>;
  readonly call: StoreCallOptions;
  /** A row that does not exist yet. */
  newRow(): TestRow<Value, Id>;
  /** Sends commands; fails unless there is an outcome for each. */
  write(
    commands: readonly StoreCommand<Value>[],
    tx?: StoreTransaction,
  ): Promise<readonly StoreOutcome<Value>[]>;
  /** True when `stored` is the row that `sent` asked for. */
  matches(stored: Value, sent: Value): boolean;
  /** Fails unless the outcome wrote, under a version that a store may give. */
  expectWritten(outcome: StoreOutcome<Value> | undefined, what: string): Written<Value>;
  dispose(): Promise<void>;
}

/** One row, and each command on it in short form; the numbers are `value(id, n)`'s. */
export interface TestRow<Value, Id> {
  readonly id: Id;
  readonly key: string;
  value(n: number): Value;
  put(n: number, how?: PutHow): Promise<StoreOutcome<Value>>;
  delete(how?: { above?: Version; ifVersion?: Version; tx?: StoreTransaction }): Promise<StoreOutcome<Value>>;
  read(tx?: StoreTransaction): Promise<StoreRow<Value> | undefined>;
  run(command: StoreCommand<Value>, tx?: StoreTransaction): Promise<StoreOutcome<Value>>;
  /** Puts it and gives the version; fails unless that worked. */
  putVersion(n: number, how?: PutHow): Promise<Version>;
  /** Deletes it and gives the version; fails unless that worked. */
  deleteVersion(how?: { above?: Version; tx?: StoreTransaction }): Promise<Version>;
  /** Fails unless the store holds `value(n)` at this version; `undefined`: unless it holds no row. */
  expectRow(n: number | undefined, version?: Version): Promise<void>;
}

export interface PutHow {
  readonly above?: Version;
  readonly ifVersion?: Version | null;
  readonly tx?: StoreTransaction;
}

function sentIsStored(stored: unknown, sent: unknown): boolean {
  if (typeof sent !== 'object' || sent === null || typeof stored !== 'object' || stored === null) {
    return isDeepStrictEqual(stored, sent);
  }
  const row = stored as Readonly<Record<string, unknown>>;
  return Object.entries(sent).every(([name, value]) => isDeepStrictEqual(row[name], value));
}

export async function storeContext<Value, Id>(
  options: StoreConformanceOptions<Value, Id>,
): Promise<StoreContext<Value, Id>> {
  const underTest = await options.create();
  const { store } = underTest;
  const versioned = options.requires?.versioned ?? true;
  const call: StoreCallOptions = { timeoutMs: options.deadlineMs ?? 30_000 };
  const matches = underTest.matches?.bind(underTest) ?? sentIsStored;

  async function write(
    commands: readonly StoreCommand<Value>[],
    tx?: StoreTransaction,
  ): Promise<readonly StoreOutcome<Value>[]> {
    const outcomes = await store.write(commands, { ...call, tx });
    expectEqual(outcomes.length, commands.length, 'the number of outcomes of write()');
    return outcomes;
  }

  function expectWritten(outcome: StoreOutcome<Value> | undefined, what: string): Written<Value> {
    expectThat(outcome?.kind === 'written', `${what}: must be written, got ${inspect(outcome)}`);
    const { version } = outcome;
    if (!versioned) expectEqual(version, 0, `${what}: the version of an unversioned store`);
    else
      expectThat(
        Number.isSafeInteger(version) && version > 0,
        `${what}: no version, got ${inspect(version)}`,
      );
    return outcome;
  }

  function newRow(): TestRow<Value, Id> {
    lastId += 1;
    const id = underTest.id(lastId);
    const key = store.keyOf(id);
    const row: TestRow<Value, Id> = {
      id,
      key,
      value: (n) => underTest.value(id, n),
      async run(command, tx) {
        const [outcome] = await write([command], tx);
        return outcome as StoreOutcome<Value>;
      },
      put: (n, { above = 0, ifVersion, tx } = {}) =>
        row.run(
          { kind: 'put', key, value: row.value(n), above, ...(ifVersion === undefined ? {} : { ifVersion }) },
          tx,
        ),
      delete: ({ above = 0, ifVersion, tx } = {}) =>
        row.run({ kind: 'delete', key, above, ...(ifVersion === undefined ? {} : { ifVersion }) }, tx),
      async read(tx) {
        const rows = await store.read([key], { ...call, primary: true, tx });
        expectEqual(rows.length, 1, 'the number of answers to read() of one key');
        return rows[0];
      },
      async putVersion(n, how) {
        const outcome = expectWritten(await row.put(n, how), `put of value ${n}`);
        expectThat(outcome.value !== null, 'a put must give the row as stored, got null');
        expectThat(
          matches(outcome.value, row.value(n)),
          `a put of value ${n} gave ${inspect(outcome.value)}`,
        );
        return outcome.version;
      },
      async deleteVersion(how) {
        const outcome = expectWritten(await row.delete(how), 'delete');
        expectEqual(outcome.value, null, "a delete's value");
        return outcome.version;
      },
      async expectRow(n, version) {
        const found = await row.read();
        if (n === undefined) {
          expectEqual(found, undefined, 'the row');
          return;
        }
        expectThat(found !== undefined, `the store must hold value ${n}, but holds no row`);
        expectEqual(found.key, key, "the row's key");
        expectThat(
          matches(found.value, row.value(n)),
          `the store must hold value ${n}, holds ${inspect(found.value)}`,
        );
        if (version !== undefined) expectEqual(found.version, version, "the row's version");
      },
    };
    return row;
  }

  return {
    ...waits(options.deadlineMs ?? 30_000, underTest.advance?.bind(underTest)),
    underTest,
    store,
    call,
    newRow,
    write,
    matches,
    expectWritten,
    async dispose() {
      try {
        await store.close();
        await underTest.second?.close();
      } finally {
        await underTest.dispose?.();
      }
    },
  };
}

/** Registers one case of the kit. */
export type StoreCase = (name: string, body: (context: StoreContext) => Promise<void>) => void;

/** The capabilities that the caller requires: cases register themselves only where theirs is required. */
export interface StoreClaims {
  requires(capability: TestedCapability): boolean;
  gives(hook: StoreHook): boolean;
}

/** A hook that the claims say is there. */
export function hookOf<Name extends StoreHook | 'counter'>(
  { underTest }: StoreContext,
  name: Name,
): NonNullable<StoreUnderTest<unknown, unknown>[Name]> {
  const hook = underTest[name];
  expectThat(hook !== undefined, `the factory must give ${name}`);
  return (typeof hook === 'function' ? hook.bind(underTest) : hook) as NonNullable<
    StoreUnderTest<unknown, unknown>[Name]
  >;
}

/** A row's field, whatever the row is. */
export function fieldOf(value: unknown, field: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[field] : undefined;
}
