import type { StoreOutcome } from '@lockstep/core';
import type { Knex } from 'knex';
import { beforeAll, describe, expect, test } from 'vitest';
import type { PostgresTable } from '../src/index.js';
import { CALL, READ, testServer } from './support/database.js';

interface Note {
  readonly id: number;
  readonly text: string;
  readonly count?: number;
}

const server = testServer();
let knex: Knex;
let notes: PostgresTable<Note, number>;

beforeAll(async () => {
  const store = server.store();
  ({ knex } = store);
  await knex.raw('CREATE TABLE notes (id int PRIMARY KEY, text text, count int NOT NULL DEFAULT 0)');
  notes = store.pg.table<Note, number>('notes', { key: 'id' });
  await store.pg.attach(notes);
  await notes.open();
});

async function put(id: number, text: string): Promise<number> {
  const [version = 0] = await putMany([{ id, text }]);
  return version;
}

async function putMany(values: readonly Note[]): Promise<number[]> {
  const outcomes = await notes.write(
    values.map((value) => ({ kind: 'put', key: String(value.id), value, above: 0 }) as const),
    CALL,
  );
  return outcomes.map(versionOf);
}

function versionOf(outcome: StoreOutcome<Note> | undefined): number {
  if (outcome?.kind !== 'written') throw new Error(`not written: ${JSON.stringify(outcome)}`);
  return outcome.version;
}

async function recorded(id: number): Promise<number[]> {
  const { rows } = await knex.raw<{ rows: { version: string }[] }>(
    `SELECT c.version::text AS version FROM lockstep.outbox o, LATERAL unnest(coalesce(o.keys, ARRAY[o.key]), coalesce(o.versions, ARRAY[o.version])) AS c(key, version)
     WHERE o.source = ? AND c.key = ? ORDER BY c.version, o.id`,
    [notes.source, String(id)],
  );
  return rows.map(({ version }) => Number(version));
}

test('puts that insert and puts that replace are recorded once each, alone and in batches', async () => {
  const inserted = await put(1, 'a');
  const replaced = await put(1, 'b');
  const [third, other] = await putMany([1, 2].map((id) => ({ id, text: 'c' })));
  expect(await recorded(1)).toEqual([inserted, replaced, third]);
  expect(await recorded(2)).toEqual([other]);
});

test.each([
  ['increment', { kind: 'increment', field: 'count', by: 1 }],
  ['patch', { kind: 'patch', set: { text: 'b' } }],
  ['replace', { kind: 'put', value: { id: 5, text: 'c' } }],
] as const)(
  'a lone %s stamps and records its row by itself, above whatever it was told of',
  async (_, change) => {
    const far = (Date.now() + 3_600_000) * 1_000;
    const first = await put(5, 'a');
    const versions = [first];
    for (const above of [0, far]) {
      const ifVersion = change.kind === 'increment' ? {} : { ifVersion: versions.at(-1) };
      const [outcome] = await notes.write([{ ...change, ...ifVersion, key: '5', above } as never], CALL);
      versions.push(versionOf(outcome));
    }
    expect(versions).toEqual(versions.toSorted((a, b) => a - b));
    expect(versions[2]).toBeGreaterThan(far);
    // The trigger would have stamped them with 6.
    expect(versions.map((version) => version % 8)).toEqual([2, 2, 2]);
    const outdated = {
      kind: 'patch',
      key: '5',
      above: 0,
      set: { text: 'd' },
      ifVersion: first,
    } as const;
    expect(await notes.write([outdated], CALL)).toEqual([{ kind: 'conflict', version: versions[2] }]);
    expect((await recorded(5)).slice(-3)).toEqual(versions);
    await notes.write([{ kind: 'delete', key: '5', above: 0 }], CALL);
  },
);

test('a lone write that its commit refuses is not told as written, though its row came before (G1)', async () => {
  await knex.raw('CREATE TABLE places (id int PRIMARY KEY, n int UNIQUE DEFERRABLE INITIALLY DEFERRED)');
  const { pg } = server.store({ knex });
  const places = pg.table<{ id: number; n: number }, number>('places', { key: 'id' });
  await pg.attach(places);
  const putAt = (id: number, n: number) =>
    places.write([{ kind: 'put', key: String(id), value: { id, n }, above: 0 }], CALL);
  await putAt(1, 1);
  await putAt(2, 2);
  expect(await putAt(2, 1)).toMatchObject([{ kind: 'failed', error: { code: 'LOCKSTEP_STORE_REFUSED' } }]);
  const [row] = await places.read(['2'], READ);
  expect(row?.value).toEqual({ id: 2, n: 2 });
});

describe('a lone delete', () => {
  const remove = async (id: number, ifVersion?: number): Promise<StoreOutcome<Note> | undefined> => {
    const condition = ifVersion === undefined ? {} : { ifVersion };
    return (await notes.write([{ kind: 'delete', key: String(id), above: 0, ...condition }], CALL))[0];
  };
  const tombstoneOf = async (id: number): Promise<number> => {
    const sql = 'SELECT version FROM lockstep.tombstone WHERE source = ? AND key = ?';
    const { rows } = await knex.raw<{ rows: { version: string }[] }>(sql, [notes.source, String(id)]);
    return Number(rows[0]?.version);
  };
  const DEFINITION =
    "SELECT pg_get_triggerdef(oid) AS sql FROM pg_trigger WHERE tgrelid = 'notes'::regclass AND tgname = '!lockstep_record_delete'";

  test('records itself and leaves a tombstone, without a call of the trigger', async () => {
    const written = await put(60, 'a');
    await knex.raw('ALTER TABLE notes DISABLE TRIGGER "!lockstep_record_delete"');
    try {
      const gone = versionOf(await remove(60, written));
      expect(gone).toBeGreaterThan(written);
      expect(await recorded(60)).toEqual([written, gone]);
      expect(await tombstoneOf(60)).toBe(gone);
      await put(60, 'b');
      expect(versionOf(await remove(60))).toBe(await tombstoneOf(60));
    } finally {
      await knex.raw('ALTER TABLE notes ENABLE ALWAYS TRIGGER "!lockstep_record_delete"');
    }
  });

  test('among other commands leaves both to the trigger', async () => {
    const [, written = 0] = await putMany([64, 65].map((id) => ({ id, text: 'a' })));
    const [, outcome] = await notes.write(
      [
        { kind: 'put', key: '64', value: { id: 64, text: 'b' }, above: 0 },
        { kind: 'delete', key: '65', above: 0 },
      ],
      CALL,
    );
    expect(await recorded(65)).toEqual([written, versionOf(outcome)]);
    expect(await tombstoneOf(65)).toBe(versionOf(outcome));
  });

  test('leaves the rows of the same table that go with it to the trigger', async () => {
    const { knex: db, pg } = server.store();
    await db.raw('CREATE TABLE tree (id int PRIMARY KEY, parent int REFERENCES tree ON DELETE CASCADE)');
    const tree = pg.table<{ id: number; parent: number | null }, number>('tree', { key: 'id' });
    await pg.attach(tree);
    await tree.open();
    for (const [id, parent] of [
      [1, null],
      [2, 1],
      [3, 2],
    ] as const) {
      await tree.write([{ kind: 'put', key: String(id), value: { id, parent }, above: 0 }], CALL);
    }
    await tree.write([{ kind: 'delete', key: '1', above: 0 }], CALL);
    const { rows } = await db.raw<{ rows: { key: string }[] }>(
      `SELECT o.key, t.version = o.version AS buried FROM lockstep.outbox o JOIN lockstep.tombstone t USING (source, key)
       WHERE o.source = ? AND o.op = 'd' ORDER BY o.key`,
      [tree.source],
    );
    expect(rows).toEqual(['1', '2', '3'].map((key) => ({ key, buried: true })));
  });

  test('of a row that is at another version, or not there, says so, and changes nothing', async () => {
    const written = await put(61, 'a');
    expect(await remove(61, written - 4)).toEqual({ kind: 'conflict', version: written });
    expect(await remove(62)).toEqual({ kind: 'missing' });
    expect(await remove(62, written)).toEqual({ kind: 'conflict', version: 0 });
    expect(await recorded(61)).toEqual([written]);
    expect(await recorded(62)).toEqual([]);
  });

  test('is left to the trigger of an earlier release, which records all deletes', async () => {
    const { rows } = await knex.raw<{ rows: { sql: string }[] }>(DEFINITION);
    const [now = ''] = rows.map(({ sql }) => sql.replace('CREATE TRIGGER', 'CREATE OR REPLACE TRIGGER'));
    await knex.raw(now.replace(/ WHEN \(.*\) EXECUTE/s, ' EXECUTE').replaceAll('?', '\\?'));
    const { pg } = server.store();
    const earlier = pg.table<Note, number>('notes', { key: 'id' });
    await earlier.open();
    try {
      const written = await put(63, 'a');
      const [outcome] = await earlier.write([{ kind: 'delete', key: '63', above: 0 }], CALL);
      expect(await recorded(63)).toEqual([written, versionOf(outcome)]);
    } finally {
      await knex.raw(now.replaceAll('?', '\\?'));
      await knex.raw('ALTER TABLE notes ENABLE ALWAYS TRIGGER "!lockstep_record_delete"');
    }
  });
});

test("what a user's trigger writes on behalf of a put is stamped and recorded as a foreign write", async () => {
  await put(10, 'a');
  const copied = await put(11, 'a');
  await knex.raw(`CREATE FUNCTION copy_note() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
      UPDATE notes SET text = NEW.text, lockstep_version = NEW.lockstep_version + 4000000 WHERE id = 11;
      INSERT INTO notes (id, text, lockstep_version) VALUES (12, NEW.text, NEW.lockstep_version) ON CONFLICT DO NOTHING;
      RETURN NULL;
    END $$`);
  await knex.raw(
    'CREATE TRIGGER copy_note AFTER UPDATE ON notes FOR EACH ROW WHEN (NEW.id = 10) EXECUTE FUNCTION copy_note()',
  );
  const version = await put(10, 'b');
  const [first, second] = await recorded(11);
  expect(first).toBe(copied);
  expect((second ?? 0) % 4).toBe(0);
  expect(second).toBeGreaterThan(copied);
  const [inserted, ...more] = await recorded(12);
  expect((inserted ?? 1) % 4).toBe(0);
  expect(more).toEqual([]);
  expect((await recorded(10)).at(-1)).toBe(version);
});

test('a put of a key whose delete was stamped ahead of the clock ends above the delete', async () => {
  const ahead = (Date.now() + 3_600_000) * 1_000;
  await knex.raw('INSERT INTO lockstep.tombstone (source, key, version) VALUES (?, ?, ?)', [
    notes.source,
    '20',
    ahead,
  ]);
  const version = await put(20, 'back');
  expect(version).toBeGreaterThan(ahead);
  expect(await recorded(20)).toEqual([version]);
});

test.each([0, 1, 2, 3, 4, 5, 6, 7])(
  'a delete has the version that every release gives it, %i past a multiple of 8',
  async (past) => {
    const version = Math.floor((Date.now() + 60_000) / 8) * 8_000 + past;
    await put(21, 'a');
    await knex.raw('ALTER TABLE notes DISABLE TRIGGER USER');
    await knex.raw('UPDATE notes SET lockstep_version = ? WHERE id = 21', [version]);
    await knex.raw('ALTER TABLE notes ENABLE TRIGGER USER');
    await server.store({ knex }).pg.attach(notes, { grantTo: ['pg_database_owner'] });
    const [outcome] = await notes.write([{ kind: 'delete', key: '21', above: 0 }], CALL);
    const { rows } = await knex.raw<{ rows: { v: string }[] }>(
      "SELECT version AS v FROM lockstep.tombstone WHERE key = '21'",
    );
    const next = Math.floor((version + 2) / 4) * 4 + 2;
    expect([versionOf(outcome), Number(rows[0]?.v)]).toEqual([next, next]);
  },
);

describe("beside users' own triggers", () => {
  test('an update that one of them drops is neither recorded nor told as written; nor is a whole batch', async () => {
    await knex.raw(
      `CREATE FUNCTION drop_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$`,
    );
    await putMany([
      { id: 30, text: 'a' },
      { id: 31, text: 'a' },
    ]);
    const before = [await recorded(30), await recorded(31)];
    await knex.raw(
      'CREATE TRIGGER zz_drop_note BEFORE UPDATE ON notes FOR EACH ROW WHEN (NEW.id IN (30, 31)) EXECUTE FUNCTION drop_note()',
    );
    await knex.raw("UPDATE notes SET text = 'b' WHERE id = 30");
    for (const ids of [[30], [30, 31]]) {
      const outcomes = await notes.write(
        ids.map((id) => ({ kind: 'put', key: String(id), value: { id, text: 'b' }, above: 0 }) as const),
        CALL,
      );
      expect(outcomes.map(({ kind }) => kind)).not.toContain('written');
    }
    expect([await recorded(30), await recorded(31)]).toEqual(before);
  });

  test('a key that one of them changes is recorded as a delete and a put', async () => {
    await put(40, 'a');
    await knex.raw(
      `CREATE FUNCTION move_note() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.id := NEW.id + 1; RETURN NEW; END $$`,
    );
    await knex.raw(
      "CREATE TRIGGER zz_move_note BEFORE UPDATE ON notes FOR EACH ROW WHEN (NEW.text = 'move') EXECUTE FUNCTION move_note()",
    );
    await knex.raw("UPDATE notes SET text = 'move' WHERE id = 40");
    expect(await recorded(40)).toHaveLength(2);
    expect(await recorded(41)).toHaveLength(1);
    const { pg } = server.store();
    const fresh = pg.table<Note, number>('notes', { key: 'id' });
    await fresh.open();
    await put(50, 'a');
    const [outcome] = await fresh.write(
      [{ kind: 'put', key: '50', value: { id: 50, text: 'move' }, above: 0 }],
      CALL,
    );
    expect(outcome).toMatchObject({ kind: 'written', key: '51' });
    expect(await recorded(50)).toHaveLength(2);
    expect(await recorded(51)).toEqual([versionOf(outcome)]);
  });
});
