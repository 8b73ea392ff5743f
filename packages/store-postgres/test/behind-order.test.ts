import { createLockstep, StoreBusyError } from '@lockstep/core';
import { memoryCache } from '@lockstep/core/memory';
import type { Knex } from 'knex';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import type { PostgresStore, PostgresTable } from '../src/index.js';
import { CALL, READ, testServer } from './support/database.js';

interface Order {
  readonly id: string;
  readonly n: number;
}
interface Line {
  readonly id: string;
  readonly o: string;
}

const PATIENCE = { timeout: 60_000 };
const server = testServer();
const lockstep = createLockstep({ cache: memoryCache() });
let knex: Knex;
let other: Knex;
let pg: PostgresStore;
let orders: PostgresTable<Order, string>;
let lines: PostgresTable<Line, string>;

beforeAll(async () => {
  ({ knex, pg } = server.store());
  other = server.knex();
  await knex.raw(`CREATE TABLE orders (id text PRIMARY KEY, n int UNIQUE);
    CREATE TABLE lines (id text PRIMARY KEY, o text NOT NULL REFERENCES orders)`);
  orders = pg.table('orders', { key: 'id' });
  lines = pg.table('lines', { key: 'id' });
  await pg.attach(orders);
  await pg.attach(lines);
  await orders.open();
  await lines.open();
});

afterAll(() => lockstep.close());

test('parent, then child, both written behind: the child’s refusal is lifted by the parent’s flush', async () => {
  const refused: unknown[] = [];
  lockstep.events.on('flushRefused', (event) => refused.push(event.error));
  const bind = { strategy: 'write-behind' } as const;
  const o = lockstep.collection({ name: 'orders', store: orders, ...bind });
  const l = lockstep.collection({ name: 'lines', store: lines, ...bind });
  await o.put('o1', { id: 'o1', n: 1 });
  await l.put('l1', { id: 'l1', o: 'o1' });
  await o.flush();
  await l.flush();
  // Known to be absent: what is written now is buffered.
  await l.delete('l1');
  await l.flush();
  await o.delete('o1');
  await o.flush();
  const holder = await other.transaction();
  await holder.raw('LOCK TABLE orders IN SHARE MODE');
  expect((await o.put('o1', { id: 'o1', n: 2 })).store).toBe('buffered');
  expect((await l.put('l1', { id: 'l1', o: 'o1' })).store).toBe('buffered');
  await vi.waitFor(async () => {
    const { rows } = await other.raw("SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'");
    expect(rows).not.toEqual([]);
  }, PATIENCE);
  await holder.rollback();
  await vi.waitFor(async () => expect(await other('lines').select('id')).toEqual([{ id: 'l1' }]), PATIENCE);
  expect(refused).toEqual([]);
});

test('a refusal says whether another row’s write may lift it', async () => {
  await other('orders').insert({ id: 'taken', n: 77 });
  const write = async (table: PostgresTable<never, never>, value: { readonly id: string }) => {
    const command = { kind: 'put', key: value.id, value: value as never, above: 0 } as const;
    const [outcome] = await table.write([command], CALL);
    return outcome?.kind === 'failed' ? outcome.error : outcome;
  };
  const dependent = { code: 'LOCKSTEP_STORE_REFUSED', mayDependOnOthers: true };
  expect(await write(orders as never, { id: 'x', n: 77 } as Order)).toMatchObject(dependent);
  expect(await write(lines as never, { id: 'x', o: 'nobody' } as Line)).toMatchObject(dependent);
  const alone = { code: 'LOCKSTEP_STORE_REFUSED', mayDependOnOthers: false };
  expect(await write(lines as never, { id: 'x', o: null } as never)).toMatchObject(alone);
});

test('a flush gives up the row that others hold, and that row only', async () => {
  const ids = ['f1', 'f2', 'f3', 'f4', 'f5'];
  await other('orders').insert(ids.map((id, at) => ({ id, n: 1_000 + at })));
  const rows = await orders.read(ids, READ);
  const holder = await other.transaction();
  await holder('orders').where({ id: 'f3' }).forUpdate();
  const outcomes = await orders.write(
    ids.map((id, at) => ({
      kind: 'flush',
      key: id,
      value: { id, n: 2_000 + at },
      version: (rows[at]?.version ?? 0) + 1_001,
    })),
    CALL,
  );
  expect(outcomes.map(({ kind }) => kind)).toEqual(['written', 'written', 'failed', 'written', 'written']);
  expect(outcomes[2]).toMatchObject({ error: { code: 'LOCKSTEP_STORE_BUSY', outcome: 'not-committed' } });
  expect(outcomes[2]?.kind === 'failed' && outcomes[2].error).toBeInstanceOf(StoreBusyError);
  // The connection that gave it up waits for locks as long as ever.
  const waiting = orders.write([{ kind: 'put', key: 'f3', value: { id: 'f3', n: 3_000 }, above: 0 }], CALL);
  await vi.waitFor(async () => {
    const { rows: blocked } = await other.raw(
      "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock'",
    );
    expect(blocked).not.toEqual([]);
  }, PATIENCE);
  await holder.rollback();
  expect((await waiting)[0]?.kind).toBe('written');
});
