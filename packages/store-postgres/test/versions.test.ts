import type { StoreOutcome, StoreRow } from '@lockstep/core';
import type { Knex } from 'knex';
import { beforeAll, describe, expect, test } from 'vitest';
import type { PostgresStore, PostgresTable } from '../src/index.js';
import { CALL, CHANGES, READ, testServer, waiting } from './support/database.js';

interface Item {
  readonly id: number;
  readonly n: number;
}

const server = testServer();
let knex: Knex;
let pg: PostgresStore;
let items: PostgresTable<Item, number>;
let lastId = 0;

beforeAll(async () => {
  const store = server.store();
  ({ knex, pg } = store);
  await knex.raw('CREATE TABLE items (id int PRIMARY KEY, n int)');
  items = store.pg.table<Item, number>('items', { key: 'id' });
  await store.pg.attach(items);
  await items.open();
});

const newId = (): number => ++lastId;

async function put(id: number, n: number, above = 0): Promise<number> {
  const [outcome] = await items.write([{ kind: 'put', key: String(id), value: { id, n }, above }], CALL);
  return versionOf(outcome);
}

function versionOf(outcome: StoreOutcome<Item> | undefined): number {
  if (outcome?.kind !== 'written') throw new Error(`not written: ${JSON.stringify(outcome)}`);
  return outcome.version;
}

async function read(id: number): Promise<StoreRow<Item> | undefined> {
  return (await items.read([String(id)], READ))[0];
}

async function recorded(id: number): Promise<{ op: string; version: number }[]> {
  const { rows } = await knex.raw<{ rows: { op: string; version: string }[] }>(
    `SELECT op, version::text AS version FROM ${CHANGES} WHERE source = ? AND key = ? ORDER BY version, id`,
    [items.source, String(id)],
  );
  return rows.map(({ op, version }) => ({ op, version: Number(version) }));
}

const FUTURE = 3_600_000_000;

describe('versions', () => {
  test('are even, and say whose write it was', async () => {
    const id = newId();
    expect((await put(id, 1)) % 4).toBe(2);
    await knex.raw('UPDATE items SET n = 2 WHERE id = ?', [id]);
    expect(((await read(id))?.version ?? 1) % 4).toBe(0);
  });

  test('never go down when the clock steps back: update, delete, re-creation, foreign or not (G3)', async () => {
    const id = newId();
    const ahead = await put(id, 1, Date.now() * 1000 + FUTURE);
    const updated = await put(id, 2);
    expect(updated).toBeGreaterThan(ahead);
    await knex.raw('UPDATE items SET n = 3 WHERE id = ?', [id]);
    const foreign = (await read(id))?.version ?? 0;
    expect(foreign).toBeGreaterThan(updated);
    await knex.raw('DELETE FROM items WHERE id = ?', [id]);
    const gone = (await recorded(id)).at(-1);
    expect(gone?.op).toBe('d');
    expect(gone?.version).toBeGreaterThan(foreign);
    await knex.raw('INSERT INTO items VALUES (?, 4)', [id]);
    const again = (await read(id))?.version ?? 0;
    expect(again).toBeGreaterThan(gone?.version ?? 0);
    expect((await recorded(id)).at(-1)).toEqual({ op: 'p', version: again });
    const [deleted] = await items.write([{ kind: 'delete', key: String(id), above: 0 }], CALL);
    expect(versionOf(deleted)).toBeGreaterThan(again);
    expect((await recorded(id)).at(-1)).toEqual({ op: 'd', version: versionOf(deleted) });
    expect(await put(id, 5)).toBeGreaterThan(versionOf(deleted));
  });

  test('a foreign statement that sets the version column does not lower it', async () => {
    const id = newId();
    const version = await put(id, 1);
    await knex.raw('UPDATE items SET lockstep_version = 4 WHERE id = ?', [id]);
    expect((await read(id))?.version).toBeGreaterThan(version);
    await knex.raw('INSERT INTO items (id, n, lockstep_version) VALUES (?, 1, 4)', [newId()]);
    expect((await read(lastId))?.version).toBeGreaterThan(version);
    const other = newId();
    await knex.raw(
      'INSERT INTO items (id, n, lockstep_version) SELECT ?, n, lockstep_version FROM items WHERE id = ?',
      [other, id],
    );
    await knex.raw(
      'INSERT INTO items (id, n) VALUES (?, 9) ON CONFLICT (id) DO UPDATE SET n = EXCLUDED.n, lockstep_version = 0',
      [other],
    );
    expect((await read(other))?.version).toBeGreaterThan(version);
  });

  test.each(['ours', 'foreign', 'in a transaction'])(
    'an insert (%s) that waited for a delete ends above it, though it was stamped before (G3)',
    async (whose) => {
      const id = newId();
      await put(id, 1);
      const deleting = await knex.transaction();
      await deleting.raw('DELETE FROM items WHERE id = ?', [id]);
      const command = { kind: 'put', key: String(id), value: { id, n: 2 }, above: 0 } as const;
      const inserting =
        whose === 'ours'
          ? put(id, 2)
          : whose === 'foreign'
            ? Promise.resolve(knex.raw('INSERT INTO items (id, n) VALUES (?, 2)', [id]))
            : pg.transactions.transaction(async (tx) => {
                await items.write([command], { ...CALL, tx });
                return (await tx.changes())[0]?.version;
              }, CALL);
      await waiting(knex, 1);
      await deleting.commit();
      const told = await inserting;
      const row = await read(id);
      const changes = await recorded(id);
      const gone = changes.find((change) => change.op === 'd');
      expect(row?.value.n).toBe(2);
      expect(row?.version).toBeGreaterThan(gone?.version ?? Number.POSITIVE_INFINITY);
      expect(changes.at(-1)).toEqual({ op: 'p', version: row?.version });
      if (whose !== 'foreign') expect(told).toBe(row?.version);
    },
  );

  test('a flush that waited for a delete refuses itself below it (G3)', async () => {
    const id = newId();
    const version = (await put(id, 1)) + 1;
    const deleting = await knex.transaction();
    await deleting.raw('DELETE FROM items WHERE id = ?', [id]);
    const flushing = items.write(
      [
        { kind: 'flush', key: String(id), value: { id, n: 2 }, version },
        { kind: 'flush', key: String(newId()), value: { id: lastId, n: 3 }, version },
      ],
      CALL,
    );
    await waiting(knex, 1);
    await deleting.commit();
    const [refused, other] = await flushing;
    expect(refused?.kind).toBe('superseded');
    expect(other?.kind).toBe('written');
    expect(await read(id)).toBeUndefined();
  });

  test('per row, the order of versions is the order of commits (G3)', async () => {
    const id = newId();
    await put(id, 0);
    const writers = Array.from({ length: 6 }, (_, writer) => async (): Promise<void> => {
      for (let n = 0; n < 15; n++) {
        if (writer % 2 === 0) await put(id, n);
        else await knex.raw('UPDATE items SET n = n + 1 WHERE id = ?', [id]);
      }
    });
    await Promise.all(writers.map((write) => write()));
    const { rows } = await knex.raw<{ rows: { sorted: boolean; n: number }[] }>(
      // Transaction ids are given while the row is locked or before; the outbox id under the lock.
      `SELECT bool_and(version > before) AS sorted, count(*)::int AS n FROM
       (SELECT version, lag(version, 1, 0::bigint) OVER (ORDER BY changed_at) AS before
        FROM ${CHANGES} WHERE source = ? AND key = ?) AS o`,
      [items.source, String(id)],
    );
    expect(rows).toEqual([{ sorted: true, n: 91 }]);
  });

  test('a changed key is a delete of the old one and a put of the new one (G6)', async () => {
    const [from, to] = [newId(), newId()];
    await put(to, 1);
    const [gone] = await items.write(
      [{ kind: 'delete', key: String(to), above: Date.now() * 1000 + FUTURE }],
      CALL,
    );
    const version = await put(from, 2);
    await knex.raw('UPDATE items SET id = ? WHERE id = ?', [to, from]);
    const old = (await recorded(from)).at(-1);
    expect(old?.op).toBe('d');
    expect(old?.version).toBeGreaterThan(version);
    expect((await read(to))?.version).toBeGreaterThan(versionOf(gone));
    expect((await recorded(to)).at(-1)).toEqual({ op: 'p', version: (await read(to))?.version });
    const late = await items.write(
      [{ kind: 'flush', key: String(from), value: { id: from, n: 9 }, version: version + 1 }],
      CALL,
    );
    expect(late[0]?.kind).toBe('superseded');
  });

  test('TRUNCATE is recorded key by key, and leaves tombstones (G6)', async () => {
    await knex.raw(
      'CREATE TABLE parted (id int PRIMARY KEY, n int) PARTITION BY RANGE (id); CREATE TABLE parted_1 PARTITION OF parted FOR VALUES FROM (0) TO (10); CREATE TABLE parted_2 PARTITION OF parted FOR VALUES FROM (10) TO (20)',
    );
    const table = pg.table<Item, number>('parted', { key: 'id' });
    await pg.attach(table);
    await table.open();
    const version = Date.now() * 1000 + FUTURE;
    await table.write(
      [1, 11, 12].map((id) => ({ kind: 'put', key: String(id), value: { id, n: 1 }, above: version })),
      CALL,
    );
    await knex.raw('TRUNCATE parted_1');
    await knex.raw('TRUNCATE parted');
    const { rows } = await knex.raw<{ rows: { key: string; n: number; above: boolean }[] }>(
      `SELECT key, count(*)::int AS n, min(version) > ?::bigint AS above FROM ${CHANGES} WHERE source = 'public.parted' AND op = 'd' GROUP BY key ORDER BY key`,
      [version],
    );
    expect(rows).toEqual(['1', '11', '12'].map((key) => ({ key, n: 1, above: true })));
    const [again] = await table.write([{ kind: 'put', key: '11', value: { id: 11, n: 2 }, above: 0 }], CALL);
    expect(versionOf(again)).toBeGreaterThan(version);
  });

  test('COPY, cascades, MERGE and writes to a partition are recorded (G6)', async () => {
    await knex.raw(`CREATE TABLE parents (id int PRIMARY KEY);
      CREATE TABLE kids (id int PRIMARY KEY, parent int REFERENCES parents ON DELETE CASCADE) PARTITION BY RANGE (id);
      CREATE TABLE kids_1 PARTITION OF kids FOR VALUES FROM (0) TO (100)`);
    const table = pg.table('kids', { key: 'id' });
    await pg.attach(table);
    await knex.raw('CREATE TABLE kids_2 PARTITION OF kids FOR VALUES FROM (100) TO (200)');
    await knex.raw(`INSERT INTO parents VALUES (1); INSERT INTO kids_1 VALUES (1, 1); INSERT INTO kids VALUES (101, 1);
      MERGE INTO kids k USING (VALUES (1), (2)) AS v(id) ON k.id = v.id
      WHEN MATCHED THEN UPDATE SET parent = 1 WHEN NOT MATCHED THEN INSERT VALUES (v.id, 1);
      DELETE FROM parents`);
    const { rows } = await knex.raw<{ rows: { key: string; ops: string }[] }>(
      `SELECT key, string_agg(op::text, '' ORDER BY version, id) AS ops FROM ${CHANGES} WHERE source = 'public.kids' GROUP BY key ORDER BY key`,
    );
    expect(rows).toEqual([
      { key: '1', ops: 'ppd' },
      { key: '101', ops: 'pd' },
      { key: '2', ops: 'pd' },
    ]);
  });

  test('one far-ahead reservation does not take its batch along', async () => {
    const [a, b] = [newId(), newId()];
    const ahead = Date.now() * 1000 + FUTURE;
    const outcomes = await items.write(
      [
        { kind: 'put', key: String(a), value: { id: a, n: 1 }, above: ahead },
        { kind: 'put', key: String(b), value: { id: b, n: 1 }, above: 0 },
      ],
      CALL,
    );
    expect(versionOf(outcomes[0])).toBeGreaterThan(ahead);
    expect(versionOf(outcomes[1])).toBeLessThan(ahead);
  });
});
