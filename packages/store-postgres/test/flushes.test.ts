import { type StoreFlush, StoreRefusedError, StoreUnavailableError, systemClock } from '@lockstep/core';
import type { Knex } from 'knex';
import { afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import type { PostgresTable } from '../src/index.js';
import { CALL, READ, testServer } from './support/database.js';

/** What one batch of the engine holds. */
const BATCH = 256;

interface Item {
  readonly id: number;
  readonly stock: number;
}

const server = testServer();
let knex: Knex;
let items: PostgresTable<Item, number>;

beforeAll(async () => {
  const opened = server.store();
  knex = opened.knex;
  await knex.raw('CREATE TABLE items (id int PRIMARY KEY, stock int NOT NULL CHECK (stock >= 0))');
  items = opened.pg.table<Item, number>('items', { key: 'id' });
  await opened.pg.attach(items);
  await items.open();
});

afterEach(() => {
  vi.restoreAllMocks();
});

let lastId = 0;

/** Flushes of ids that nobody has used; `null`: of deletions. */
function flushes(stock: (n: number) => number | null): StoreFlush<Item>[] {
  const base = Date.now() * 1_000 + 1_000_001;
  return Array.from({ length: BATCH }, (_, n) => {
    lastId += 1;
    const left = stock(n);
    const value = left === null ? null : { id: lastId, stock: left };
    return { kind: 'flush', key: String(lastId), version: base + 2 * n, value };
  });
}

async function put(keys: readonly string[]): Promise<void> {
  await items.write(
    keys.map((key) => ({ kind: 'put' as const, key, value: { id: Number(key), stock: 0 }, above: 0 })),
    CALL,
  );
}

async function versionsOf(commands: readonly StoreFlush<Item>[]): Promise<(number | undefined)[]> {
  const keys = commands.map(({ key }) => key);
  return (await items.read(keys, READ)).map((row) => row?.version);
}

/** Counts exchanges with the server: each pipeline borrows a connection once. */
function exchanges(): () => number {
  const spy = vi.spyOn(knex.client as { acquireConnection(): Promise<unknown> }, 'acquireConnection');
  return () => spy.mock.calls.length;
}

describe('256 flushes of one call', () => {
  test('onto new rows and old ones travel in one statement', async () => {
    const commands = flushes((stock) => stock);
    await put(commands.filter((_, n) => n % 2 === 0).map(({ key }) => key));
    const sent = exchanges();
    const outcomes = await items.write(commands, CALL);
    expect(sent()).toBe(1);
    expect(outcomes).toEqual(
      commands.map(({ value, version }) => ({ kind: 'written', value: { ...value }, version })),
    );
    expect(await versionsOf(commands)).toEqual(commands.map(({ version }) => version));
  });

  test('that delete travel in one, and one more where no row was found, and leave tombstones (G3)', async () => {
    const commands = flushes(() => null);
    await put(commands.filter((_, n) => n % 2 === 0).map(({ key }) => key));
    const sent = exchanges();
    const outcomes = await items.write(commands, CALL);
    expect(sent()).toBe(2);
    expect(outcomes).toEqual(commands.map(({ version }) => ({ kind: 'written', value: null, version })));
    const late = commands.map(({ key, version }) => ({
      kind: 'flush' as const,
      key,
      version: version - 2,
      value: { id: Number(key), stock: 1 },
    }));
    expect(await items.write(late, CALL)).toEqual(
      commands.map(({ version }) => ({ kind: 'superseded', version })),
    );
    expect(await versionsOf(commands)).toEqual(commands.map(() => undefined));
  });

  test('of which the database refuses one: the others commit, in a few statements (G1)', async () => {
    const bad = 100;
    const commands = flushes((n) => (n === bad ? -1 : n));
    const sent = exchanges();
    const outcomes = await items.write(commands, CALL);
    expect(sent()).toBeLessThan(20);
    const failed = outcomes.flatMap((outcome, n) => (outcome.kind === 'failed' ? [{ n, outcome }] : []));
    expect(failed.map(({ n }) => n)).toEqual([bad]);
    expect(failed[0]?.outcome.error).toBeInstanceOf(StoreRefusedError);
    expect(outcomes.filter(({ kind }) => kind === 'written')).toHaveLength(BATCH - 1);
    expect(await versionsOf(commands)).toEqual(
      commands.map(({ version }, n) => (n === bad ? undefined : version)),
    );
  });
});

test('a write ahead of the clock has no more time than any other: asking for the clock takes of it', async () => {
  let lostMs = 0;
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + lostMs };
  const { knex: own, pg } = server.store({ clock });
  const slow = pg.table<Item, number>('items', { key: 'id' });
  await slow.open();
  const lender = own.client as { releaseConnection(connection: unknown): Promise<void> };
  const release = lender.releaseConnection.bind(lender);
  const command = { kind: 'put', key: '1000000', value: { id: 1_000_000, stock: 1 }, above: 0 } as const;
  vi.spyOn(lender, 'releaseConnection').mockImplementationOnce((connection) => {
    lostMs += CALL.timeoutMs;
    return release(connection);
  });
  await expect(slow.write([{ ...command, aheadMs: 1_000 }], CALL)).rejects.toBeInstanceOf(
    StoreUnavailableError,
  );
  expect(await slow.read(['1000000'], READ)).toEqual([undefined]);
  expect(await slow.write([command], CALL)).toMatchObject([{ kind: 'written' }]);
});
